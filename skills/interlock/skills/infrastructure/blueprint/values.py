"""A document's values as the model has them: by field, in its units. Also where only a part of the document is right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from msgspec import Struct

from interlock.skills.infrastructure.blueprint import quantities
from interlock.skills.infrastructure.blueprint.format import Leaf, followed, leaves, leaves_by_field

METRICS = {
    "latency_p50": "latency_p50_us",
    "latency_p95": "latency_p95_us",
    "latency_p99": "latency_p99_us",
    "throughput": "throughput_mrps",
    "error_rate": "error_rate_ppm",
    "availability": "availability_ppm",
    "queue_depth": "queue_depth",
}
"""How a blueprint calls the metrics of observed.py."""


class Values(Struct, frozen=True):
    """given: field → value of what the document says and says rightly. wrong: fields it says wrongly."""

    given: dict[str, Any]
    wrong: frozenset[str]

    def get(self, field: str) -> Any:
        """The value of a field, its default where the document is silent; None if it is wrong or there is none."""
        if field in self.given:
            return self.given[field]
        return None if field in self.wrong else defaults().get(field)


def values_of(document: Any, wrong_paths: frozenset[str]) -> Values:
    """wrong_paths: dotted paths of what the schema refused; what is in or around them is left out."""
    given: dict[str, Any] = {}
    wrong = set()
    for leaf in leaves().values():
        if not leaf.field:
            continue
        if _is_wrong(leaf.path, wrong_paths):
            wrong.add(leaf.field)
        elif (found := _at(document, leaf.path)) is not None:
            given[leaf.field] = parsed(leaf, found)
    return Values(given, frozenset(wrong))


@cache
def defaults() -> dict[str, Any]:
    """Field → what it is where it is left out, in the model's units."""
    return {leaf.field: parsed(leaf, leaf.schema["default"]) for leaf in leaves_by_field().values() if leaf.has_default}


def parsed(leaf: Leaf, value: Any) -> Any:
    """A right value of the document in the model's terms."""
    if leaf.quantity:
        return quantities.parse(leaf.quantity, value)
    special = _READ.get(leaf.field)
    return special(value) if special is not None else value


def written(leaf: Leaf, value: Any) -> Any:
    """The inverse of `parsed`: a value of the model (plain) as a document has it."""
    if leaf.quantity:
        return quantities.show(leaf.quantity, value)
    special = _WRITTEN.get(leaf.field)
    return special(value) if special is not None else value


def _read_probe(value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        entry["x-field"]: quantities.parse(entry["x-quantity"], value[key]) if "x-quantity" in entry else value[key]
        for key, entry in _probe_schema().items()
    }


def _written_probe(value: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: (entry, value[entry["x-field"]]) for key, entry in _probe_schema().items()}
    return {
        key: quantities.show(entry["x-quantity"], item) if "x-quantity" in entry else item
        for key, (entry, item) in found.items()
    }


@cache
def _probe_schema() -> dict[str, dict[str, Any]]:
    probe = leaves()["spec.reliability.readiness_probe"].schema
    return {key: followed(entry) for key, entry in probe["properties"].items()}


_READ: dict[str, Callable[[Any], Any]] = {
    "scaling.metrics": lambda value: [
        {"type": entry["type"], "weight_ppm": quantities.parse("weight", entry["weight"])} for entry in value
    ],
    "metrics.queries": lambda value: [{"metric": METRICS[name], "query": query} for name, query in value.items()],
    "helm.values": lambda value: [{"field": field, "path": path} for field, path in value.items()],
    "deployment.max_surge": str,
    "deployment.max_unavailable": str,
    "reliability.readiness_probe": _read_probe,
    "reliability.liveness_probe": _read_probe,
}
_YAML_NAMES = {field: name for name, field in METRICS.items()}
_WRITTEN: dict[str, Callable[[Any], Any]] = {
    "scaling.metrics": lambda value: [
        {"type": entry["type"], "weight": quantities.show("weight", entry["weight_ppm"])} for entry in value
    ],
    "metrics.queries": lambda value: {_YAML_NAMES[entry["metric"]]: entry["query"] for entry in value},
    "helm.values": lambda value: {entry["field"]: entry["path"] for entry in value},
    "deployment.max_surge": lambda value: value if value.endswith("%") else int(value),
    "deployment.max_unavailable": lambda value: value if value.endswith("%") else int(value),
    "reliability.readiness_probe": _written_probe,
    "reliability.liveness_probe": _written_probe,
}


def _at(document: Any, path: str) -> Any:
    for key in path.split("."):
        if not isinstance(document, dict) or key not in document:
            return None
        document = document[key]
    return document


def _is_wrong(path: str, wrong: frozenset[str]) -> bool:
    return any(bad == path or bad.startswith((f"{path}.", f"{path}[")) or path.startswith(f"{bad}.") for bad in wrong)
