"""What pods use, from metrics.k8s.io (metrics-server). What it does not tell is missing, never 0."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from interlock.skills.infrastructure.api_quantities import BadQuantity, milli, whole
from interlock.skills.infrastructure.cluster.client import Cluster
from interlock.skills.infrastructure.cluster.errors import Missing, ServerFailed

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_UNITS_MS = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}


class Usage(Struct, frozen=True, kw_only=True):
    """One pod: millicores and bytes over all its containers, when it was measured (UTC ms) and over what span."""

    cpu_m: int | None
    memory_bytes: int | None
    at_ms: int
    window_ms: int


async def usage_of(cluster: Cluster, namespace: str, selector: str) -> dict[str, Usage]:
    """pod name → usage. Empty where no metrics-server answers. Raises ClusterError for what is no lack of metrics."""
    try:
        items, _ = await cluster.list("PodMetrics", namespace, selector)
    except (Missing, ServerFailed):
        return {}
    found = ((item["metadata"]["name"], _usage(item)) for item in items)
    return {name: usage for name, usage in found if usage is not None}


def time_ms(text: str) -> int:
    """UTC ms of an RFC 3339 time as objects hold it. Raises ValueError."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def span_ms(text: str) -> int:
    """`15s`, `1m0s`: a duration as Go writes it; what cannot be read is 0."""
    return round(sum(float(number) * _UNITS_MS[unit] for number, unit in _SPAN.findall(text)))


def _usage(item: Mapping[str, Any]) -> Usage | None:
    containers = [one.get("usage") or {} for one in item.get("containers") or []]
    try:
        at_ms = time_ms(str(item.get("timestamp")))
    except ValueError:
        return None  # nobody knows how old it is
    return Usage(
        cpu_m=_sum([one.get("cpu") for one in containers], milli),
        memory_bytes=_sum([one.get("memory") for one in containers], whole),
        at_ms=at_ms,
        window_ms=span_ms(str(item.get("window", ""))),
    )


def _sum(values: list[Any], read: Any) -> int | None:
    """None as soon as one container says nothing: half a sum would look like a small one."""
    try:
        return sum(read(value) for value in values) if values and None not in values else None
    except BadQuantity:
        return None
