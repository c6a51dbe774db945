"""Watches: what changed since a version, bookmarks, and the 410 of a history that is gone."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from interlock.skills.infrastructure.fake_cluster.faults import Fault
from interlock.skills.infrastructure.fake_cluster.kinds import Kind
from interlock.skills.infrastructure.fake_cluster.reading import matching
from interlock.skills.infrastructure.fake_cluster.selectors import Match
from interlock.skills.infrastructure.fake_cluster.statuses import expired
from interlock.skills.infrastructure.fake_cluster.store import Change, Store
from interlock.skills.infrastructure.fake_cluster.wire import Cut

_LONGEST_S = 1_800


async def watch(
    store: Store,
    kind: Kind,
    namespace: str,
    name: str,
    query: Mapping[str, str],
    fault: Fault,
    *,
    bookmark_s: float,
    timeout_s: float,
) -> AsyncIterator[bytes]:
    """Lines of JSON until `timeoutSeconds` are over. From version "" or "0" it starts with what is there."""
    selected = matching(query)

    def wanted(item: Mapping[str, Any]) -> bool:
        metadata = item["metadata"]
        here = not namespace or metadata.get("namespace", "") == namespace
        return here and (not name or metadata["name"] == name) and selected(item)

    sent = 0
    asked = query.get("resourceVersion", "")
    version = int(asked) if asked.isdecimal() and asked != "0" else 0
    if not version:
        version = store.version
        for item in store.all(kind, namespace):
            if wanted(item):
                yield _line("ADDED", item)
                sent += 1
    ends = time.monotonic() + min(timeout_s, _LONGEST_S)
    bookmarks = query.get("allowWatchBookmarks") == "true"
    next_bookmark = time.monotonic() + bookmark_s
    while (left := ends - time.monotonic()) > 0:
        if version < store.compacted:
            yield _line("ERROR", expired(f"too old resource version: {version} ({store.compacted})").status())
            return
        grown = asyncio.ensure_future(store.grown())
        try:
            for change in store.since(version):
                if _is_over(fault, sent):
                    break
                version = change.version
                if change.resource is kind and (line := _seen(change, wanted)) is not None:
                    yield line
                    sent += 1
            if _is_over(fault, sent):
                if fault.cut_watch is not None:
                    raise Cut
                yield _line("ERROR", expired(f"too old resource version: {version}").status())
                return
            wait = min(left, max(0.0, next_bookmark - time.monotonic())) if bookmarks else left
            await asyncio.wait({grown}, timeout=wait)
        finally:
            grown.cancel()
        if bookmarks and time.monotonic() >= next_bookmark:
            next_bookmark = time.monotonic() + bookmark_s
            yield _bookmark(kind, version)
    if bookmarks:
        yield _bookmark(kind, version)


def _is_over(fault: Fault, sent: int) -> bool:
    return any(limit is not None and sent >= limit for limit in (fault.cut_watch, fault.expire_watch))


def _seen(change: Change, wanted: Match) -> bytes | None:
    """How a watcher with a selector sees a change: what leaves the selection is deleted for him, what enters is added."""
    now = change.kind != "DELETED" and wanted(change.item)
    before = change.before is not None and wanted(change.before)
    if now:
        return _line("MODIFIED" if before else "ADDED", change.item)
    return _line("DELETED", change.item) if before else None


def _bookmark(kind: Kind, version: int) -> bytes:
    metadata = {"resourceVersion": str(version), "creationTimestamp": None}
    return _line("BOOKMARK", {"kind": kind.name, "apiVersion": kind.api_version, "metadata": metadata})


def _line(event: str, item: Mapping[str, Any]) -> bytes:
    return json.dumps({"type": event, "object": item}, separators=(",", ":")).encode() + b"\n"
