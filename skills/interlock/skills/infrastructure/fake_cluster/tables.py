"""Lists as tables: what kubectl asks for so that `get` prints columns (`as=Table`, meta.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from interlock.skills.infrastructure.fake_cluster.kinds import (
    DEPLOYMENTS,
    EVENTS,
    POD_METRICS,
    PODS,
    REPLICASETS,
    STATEFULSETS,
    Kind,
)
from interlock.skills.infrastructure.fake_cluster.store import Object
from interlock.skills.infrastructure.fake_cluster.times import parse_stamp

Column = tuple[str, Callable[[Object], Any]]


def wants_table(accept: str) -> bool:
    """kubectl's Accept header."""
    return "as=Table" in accept and "g=meta.k8s.io" in accept


def as_table(kind: Kind, answer: dict[str, Any], now_ms: int) -> dict[str, Any]:
    """A list or a single object as a Table."""
    items: Sequence[Object] = answer.get("items", [answer])
    columns: list[Column] = [
        ("Name", lambda item: item["metadata"]["name"]),
        *_COLUMNS.get(kind.key, ()),
        ("Age", lambda item: _age(item, now_ms)),
    ]
    definitions = [
        {"name": name, "type": "string", "format": "name" if name == "Name" else "", "description": "", "priority": 0}
        for name, _ in columns
    ]
    rows = [
        {
            "cells": [cell(item) for _, cell in columns],
            "object": {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]},
        }
        for item in items
    ]
    metadata = answer["metadata"] if "items" in answer else {"resourceVersion": answer["metadata"]["resourceVersion"]}
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": definitions,
        "rows": rows,
    }


def _age(item: Object, now_ms: int) -> str:
    seconds = max(0, now_ms - parse_stamp(item["metadata"]["creationTimestamp"])) // 1000
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _status(item: Object, field: str) -> int:
    return int(item.get("status", {}).get(field, 0))


def _containers(item: Object) -> list[Object]:
    return list(item.get("status", {}).get("containerStatuses") or [])


def _pod_state(item: Object) -> str:
    if "deletionTimestamp" in item["metadata"]:
        return "Terminating"
    for container in _containers(item):
        for how in ("waiting", "terminated"):
            reason = (container.get("state", {}).get(how) or {}).get("reason")
            if reason:
                return str(reason)
    return str(item.get("status", {}).get("phase", "Pending"))


_COLUMNS: dict[str, Sequence[Column]] = {
    DEPLOYMENTS.key: (
        ("Ready", lambda item: f"{_status(item, 'readyReplicas')}/{item['spec']['replicas']}"),
        ("Up-to-date", lambda item: _status(item, "updatedReplicas")),
        ("Available", lambda item: _status(item, "availableReplicas")),
    ),
    STATEFULSETS.key: (("Ready", lambda item: f"{_status(item, 'readyReplicas')}/{item['spec']['replicas']}"),),
    REPLICASETS.key: (
        ("Desired", lambda item: item["spec"]["replicas"]),
        ("Current", lambda item: _status(item, "replicas")),
        ("Ready", lambda item: _status(item, "readyReplicas")),
    ),
    PODS.key: (
        (
            "Ready",
            lambda item: f"{sum(one['ready'] for one in _containers(item))}/{len(item['spec']['containers'])}",
        ),
        ("Status", _pod_state),
        ("Restarts", lambda item: sum(one["restartCount"] for one in _containers(item))),
    ),
    EVENTS.key: (
        ("Type", lambda item: item.get("type", "")),
        ("Reason", lambda item: item.get("reason", "")),
        ("Message", lambda item: item.get("message", "")),
    ),
    POD_METRICS.key: (
        ("Cpu", lambda item: item["containers"][0]["usage"]["cpu"]),
        ("Memory", lambda item: item["containers"][0]["usage"]["memory"]),
    ),
}
