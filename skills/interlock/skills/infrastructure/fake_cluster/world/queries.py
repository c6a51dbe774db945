"""As much of the Prometheus HTTP API as plain selectors need: `service_latency_p95_seconds{service="web"}`, and
`timestamp()` of one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from interlock.skills.infrastructure.fake_cluster.wire import Response, json_response
from interlock.skills.infrastructure.fake_cluster.world.load import Load

_SELECTOR = re.compile(r"^\s*(?P<name>[a-zA-Z_:][\w:]*)\s*(\{(?P<labels>[^{}]*)\})?\s*$")
_TIMESTAMP = re.compile(r"^\s*timestamp\((?P<selector>.*)\)\s*$")
_LOOK_BACK_MS = 300_000  # as a Prometheus has it by default
_LABEL = re.compile(r'\s*(?P<name>[a-zA-Z_]\w*)\s*=\s*"(?P<value>(?:[^"\\]|\\.)*)"\s*(?:,|$)')


def answer(load: Load, path: str, query: Mapping[str, str], body: bytes) -> Response:
    """GET or POST of `/prometheus/api/v1/query`."""
    if path != "/prometheus/api/v1/query":
        return _error(404, "not_found", f"no path {path}")
    asked = {**dict(parse_qsl(body.decode("utf-8", "replace"))), **query}.get("query", "")
    wants_time = _TIMESTAMP.match(asked)
    selector = _SELECTOR.match(wants_time["selector"] if wants_time else asked)
    if selector is None:
        return _error(400, "bad_data", f"this server only knows plain selectors, not {asked!r}")
    wanted = _labels(selector["labels"] or "")
    if wanted is None:
        return _error(400, "bad_data", f"cannot read the labels of {asked!r}")
    found = []
    now_ms = load.now_ms()
    for one in load.series(selector["name"]):
        labels = {"__name__": one.name, "namespace": one.namespace, "service": one.service}
        is_seen = now_ms - one.at_ms < _LOOK_BACK_MS
        if is_seen and all(labels.get(name) == value for name, value in wanted.items()):
            value = one.at_ms / 1000 if wants_time else one.value
            found.append({"metric": labels, "value": [now_ms / 1000, f"{value:.6f}"]})
    return json_response({"status": "success", "data": {"resultType": "vector", "result": found}})


def _labels(text: str) -> dict[str, str] | None:
    labels, at = {}, 0
    while at < len(text.rstrip()):
        match = _LABEL.match(text, at)
        if match is None:
            return None
        labels[match["name"]] = re.sub(r"\\(.)", r"\1", match["value"])
        at = match.end()
    return labels


def _error(status: int, kind: str, message: str) -> Response:
    return json_response({"status": "error", "errorType": kind, "error": message}, status)
