"""GET: one object, lists with selectors, in chunks, and as tables for kubectl."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from interlock.skills.infrastructure.fake_cluster.kinds import Kind
from interlock.skills.infrastructure.fake_cluster.selectors import Match, fields_match, labels_match
from interlock.skills.infrastructure.fake_cluster.statuses import ApiError, bad_request, expired
from interlock.skills.infrastructure.fake_cluster.store import Object, Store


def matching(query: Mapping[str, str]) -> Match:
    """The label and field selectors of a request as one test. Raises ApiError 400."""
    labels, fields = labels_match(query.get("labelSelector", "")), fields_match(query.get("fieldSelector", ""))
    return lambda item: labels(item) and fields(item)


def listed(store: Store, kind: Kind, namespace: str, query: Mapping[str, str]) -> dict[str, Any]:
    """The list object. A list that continues shows the state it began with. Raises ApiError 400, 410, 504."""
    asked = number(query, "resourceVersion")
    if asked > store.version:
        raise ApiError(504, "Timeout", f"Too large resource version: {asked}, current: {store.version}")
    limit, start, version = number(query, "limit"), ("", ""), store.version
    items = store.all(kind)
    if token := query.get("continue"):
        version, start = _continued(token)
        snapshot = store.snapshot(kind, version)
        if version < store.compacted or snapshot is None:
            raise expired()
        items = snapshot
    elif limit:
        store.keep_snapshot(kind, items)
    wanted = matching(query)
    found = [
        item
        for item in items
        if place(item) > start and (not namespace or place(item)[0] == namespace) and wanted(item)
    ]
    metadata: dict[str, Any] = {"resourceVersion": str(version)}
    if limit and len(found) > limit:
        metadata["remainingItemCount"] = len(found) - limit
        found = found[:limit]
        metadata["continue"] = _token(version, place(found[-1]))
    return {"kind": f"{kind.name}List", "apiVersion": kind.api_version, "metadata": metadata, "items": found}


def place(item: Object) -> tuple[str, str]:
    """Where an object stands in the order of lists."""
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def number(query: Mapping[str, str], name: str) -> int:
    """A whole number of the query, 0 if it is not there. Raises ApiError 400."""
    text = query.get(name, "") or "0"
    if not text.isdecimal():
        raise bad_request(f"{name}: Invalid value: {text!r}")
    return int(text)


def _token(version: int, last: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps([version, *last]).encode()).decode()


def _continued(token: str) -> tuple[int, tuple[str, str]]:
    try:
        version, namespace, name = json.loads(base64.urlsafe_b64decode(token))
        return int(version), (str(namespace), str(name))
    except (ValueError, TypeError):
        raise bad_request("continue key is not valid") from None
