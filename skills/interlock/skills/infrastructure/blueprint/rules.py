"""What a schema cannot say: values that contradict each other. Each rule sees what could be read, and is silent about what
could not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct

from interlock.skills.infrastructure.blueprint import quantities
from interlock.skills.infrastructure.blueprint.format import leaves_by_field
from interlock.skills.infrastructure.blueprint.model import WHOLE_PPM
from interlock.skills.infrastructure.blueprint.values import Values


class Breach(Struct, frozen=True):
    """field: of the value that is told. at: the entry or key inside it, where it is a list or a mapping."""

    field: str
    expected: str
    found: str
    at: int | str | None = None
    instead: str = ""


Rule = Callable[[Values], Iterator[Breach]]


class Order(Struct, frozen=True):
    """The value of `upper` is at least that of `lower`; more than it, if strict."""

    lower: str
    upper: str
    strict: bool = False


ORDERS = (
    Order("resources.cpu.request_m", "resources.cpu.limit_m"),
    Order("resources.memory.request_bytes", "resources.memory.limit_bytes"),
    Order("performance.latency_p50_us", "performance.latency_p95_us"),
    Order("performance.latency_p95_us", "performance.latency_p99_us"),
    Order("performance.latency_p50_us", "performance.latency_p99_us"),
    Order("performance.throughput_min_mrps", "performance.throughput_target_mrps"),
    Order("scaling.min_replicas", "scaling.max_replicas"),
    Order("scaling.min_replicas", "scaling.target_replicas"),
    Order("scaling.target_replicas", "scaling.max_replicas"),
    Order("scaling.scale_down_threshold_ppm", "scaling.scale_up_threshold_ppm", strict=True),
    Order("reliability.restart_backoff_initial_ms", "reliability.restart_backoff_max_ms"),
)
LONGEST_APPROVAL_MS = 3_600_000
# What a weighted metric is measured against.
_TARGETS = {
    "latency": ("performance.latency_p95_us", "performance.latency_p50_us", "performance.latency_p99_us"),
    "throughput": ("performance.throughput_target_mrps", "performance.throughput_min_mrps"),
    "error_rate": ("performance.error_rate_max_ppm",),
    "queue_depth": ("performance.queue_depth_max",),
}
_TIERS = ("governance.allowed_operations", "governance.requires_approval", "governance.forbidden_operations")


def breaches(values: Values) -> Iterator[Breach]:
    """Every contradiction."""
    for rule in _RULES:
        yield from rule(values)


def _orders(values: Values) -> Iterator[Breach]:
    for order in ORDERS:
        lower, upper = values.get(order.lower), values.get(order.upper)
        if lower is None or upper is None or (lower < upper if order.strict else lower <= upper):
            continue
        # Told at the one that is in the document, the later one if both are.
        field = order.upper if order.upper in values.given else order.lower
        other = order.lower if field == order.upper else order.upper
        least = "more than" if order.strict else "at least"
        most = "less than" if order.strict else "at most"
        relation = least if field == order.upper else most
        bound = f"{relation} {_name(other)} ({_shown(other, values.get(other))})"
        yield Breach(field, bound, f"`{_shown(field, values.get(field))}`")


def _weights(values: Values) -> Iterator[Breach]:
    metrics = values.get("scaling.metrics") or []
    total = sum(entry["weight_ppm"] for entry in metrics)
    if metrics and total != WHOLE_PPM:
        yield Breach("scaling.metrics", "weights that sum to 1", f"a sum of {quantities.show('weight', total)}")
    seen = set()
    for index, entry in enumerate(metrics):
        kind = entry["type"]
        if kind in seen:
            yield Breach("scaling.metrics", "each metric once", f"`{kind}` again", index)
        seen.add(kind)
        targets = _TARGETS.get(kind, ())
        if targets and all(values.get(field) is None and field not in values.wrong for field in targets):
            expected = f"{_name(targets[0])}, which `{kind}` is measured against"
            yield Breach("scaling.metrics", expected, "nothing", index)


def _tiers(values: Values) -> Iterator[Breach]:
    first: dict[str, str] = {}
    for tier in _TIERS:
        for index, name in enumerate(values.get(tier) or []):
            if name in first and first[name] != tier:
                yield Breach(
                    tier, f"each operation in one tier (`{name}` is in {_name(first[name])})", "it again", index
                )
            first.setdefault(name, tier)


def _approvers(values: Values) -> Iterator[Breach]:
    asked = values.get("governance.requires_approval")
    if asked and values.get("governance.approvers") == []:
        field = "governance.approvers"
        expected = "somebody who may approve, since requires_approval names operations"
        yield Breach(field if field in values.given else "governance.requires_approval", expected, "no approvers")


def _timeout(values: Values) -> Iterator[Breach]:
    timeout_ms = values.get("governance.approval_timeout_ms")
    if timeout_ms is not None and timeout_ms > LONGEST_APPROVAL_MS:
        found = f"`{quantities.show('duration', timeout_ms)}`"
        yield Breach("governance.approval_timeout_ms", "at most `1h`, since no goal lives longer", found)


def _replacing(values: Values) -> Iterator[Breach]:
    surge, unavailable = values.given.get("deployment.max_surge"), values.given.get("deployment.max_unavailable")
    if values.get("deployment.strategy") == "Recreate":
        for field, value in (("deployment.max_surge", surge), ("deployment.max_unavailable", unavailable)):
            if value is not None:
                yield Breach(field, "nothing with the strategy Recreate", f"`{value}`")
    elif surge in ("0", "0%") and unavailable in ("0", "0%"):
        yield Breach("deployment.max_unavailable", "more than 0, since max_surge is 0", f"`{unavailable}`")
    if values.get("target.kind") == "StatefulSet" and "deployment.strategy" in values.given:
        yield Breach("deployment.strategy", "no deployment strategy for a StatefulSet", "one")


def _probes(values: Values) -> Iterator[Breach]:
    for field in ("reliability.readiness_probe", "reliability.liveness_probe"):
        probe = values.get(field)
        if probe is None:
            continue
        if probe["timeout_s"] > probe["period_s"]:
            most = f"at most the period ({probe['period_s']}s)"
            yield Breach(field, most, f"`{probe['timeout_s']}s`", "timeout")
        for name in ("period", "timeout"):
            if probe[f"{name}_s"] < 1:
                yield Breach(field, "at least 1s", f"`{probe[f'{name}_s']}s`", name)


def _sources(values: Values) -> Iterator[Breach]:
    source = values.get("metrics.source")
    needs = {"prometheus": ("metrics.url", "the URL of Prometheus"), "trace": ("metrics.trace", "a CSV file")}
    if source in needs:
        field, what = needs[source]
        if values.get(field) == "":
            yield Breach("metrics.source", f"{_name(field)}, {what}, with the source {source}", "nothing")
    if source is not None and source != "prometheus" and values.given.get("metrics.queries"):
        yield Breach("metrics.queries", "no queries, since the source is not prometheus", "some")


def _cost(values: Values) -> Iterator[Breach]:
    budget, each = values.get("cost.monthly_budget_micro_usd"), values.get("cost.cost_per_replica_micro_usd")
    least = values.get("scaling.min_replicas")
    if None not in (budget, each, least) and budget < each * least:
        expected = f"at least min_replicas × cost_per_replica ({quantities.show('money', each * least)})"
        yield Breach("cost.monthly_budget_micro_usd", expected, f"`{quantities.show('money', budget)}`")


_RULES: tuple[Rule, ...] = (_orders, _weights, _tiers, _approvers, _timeout, _replacing, _probes, _sources, _cost)


def _name(field: str) -> str:
    return leaves_by_field()[field].path.rpartition(".")[2]


def _shown(field: str, value: Any) -> str:
    kind = leaves_by_field()[field].quantity
    return quantities.show(kind, value) if kind else str(value)
