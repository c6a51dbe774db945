"""What the blueprint's metrics say about a state: the pressure of each weighted metric and which targets are violated."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from msgspec import Struct

from interlock.skills.infrastructure.blueprint.model import Blueprint, ScalingMetricType
from interlock.skills.infrastructure.decision.reasons import of_ppm, to_ppm
from interlock.skills.infrastructure.decision.utilisation import Utilisation, is_fresh, utilisation
from interlock.skills.infrastructure.observed import MetricName, ObservedState

ONE = Fraction(1)


class Pressure(Struct, frozen=True, kw_only=True):
    """How hard one weighted metric presses: 1 = all of the request, or exactly the target.

    low: what may justify more replicas; high: what may justify fewer. Both None: missing or too old.
    """

    metric: ScalingMetricType
    weight: Fraction
    low: Fraction | None
    high: Fraction | None

    @property
    def missing(self) -> bool:
        return self.low is None


class Violation(Struct, frozen=True, kw_only=True):
    """A performance target that is not kept. needs_load: more replicas can only help where load presses."""

    metric: MetricName
    value: int
    target: int
    reference: str
    needs_load: bool


class Evidence(Struct, frozen=True, kw_only=True):
    """Everything that a decision about replicas rests on.

    pressed: so much load that the replicas may be what holds it up. demand: throughput below its minimum while nothing
    presses, which is nobody's failure: less was asked for. unknown: what the blueprint asks about and nobody measured
    lately, with its place in the blueprint.
    """

    cpu: Utilisation | None
    memory: Utilisation | None
    pressures: tuple[Pressure, ...]
    pressed: bool
    violations: tuple[Violation, ...]
    demand: tuple[Violation, ...]
    unknown: tuple[tuple[str, str], ...]
    values: dict[MetricName, int]

    @property
    def score_low(self) -> Fraction:
        """The weighted sum, missing metrics as nothing: they never widen an action."""
        return sum((p.weight * p.low for p in self.pressures if p.low is not None), Fraction(0))

    @property
    def score_high(self) -> Fraction | None:
        """The weighted sum, None while one is missing: it could be anything."""
        if any(p.high is None for p in self.pressures):
            return None
        return sum((p.weight * p.high for p in self.pressures if p.high is not None), Fraction(0))


_Bound = Literal["max", "min"]
# What the blueprint asks, the metric that answers, on which side of the target is wrong, whether load must be behind it.
_TARGETS: tuple[tuple[str, MetricName, str, _Bound, bool], ...] = (
    ("latency_p50_us", "latency_p50_us", "latency_p50", "max", False),
    ("latency_p95_us", "latency_p95_us", "latency_p95", "max", False),
    ("latency_p99_us", "latency_p99_us", "latency_p99", "max", False),
    ("throughput_min_mrps", "throughput_mrps", "throughput_min", "min", True),
    ("availability_ppm", "availability_ppm", "availability", "min", True),
    ("error_rate_max_ppm", "error_rate_ppm", "error_rate_max", "max", True),
    ("queue_depth_max", "queue_depth", "queue_depth_max", "max", False),
)


def gather(blueprint: Blueprint, state: ObservedState, now_ms: int) -> Evidence:
    """The evidence of one moment. Samples older than spec.scaling.metrics_max_age are as good as none."""
    age_ms = blueprint.scaling.metrics_max_age_ms
    values = {s.name: s.value for s in state.metrics if is_fresh(s.at_ms, now_ms, age_ms)}
    cpu = utilisation(
        state.pods,
        "cpu",
        state.pod_cpu_request_m,
        replicas=state.replicas,
        now_ms=now_ms,
        stale_after_ms=age_ms,
        target=of_ppm(blueprint.resources.cpu.target_utilization_ppm),
    )
    memory = utilisation(
        state.pods,
        "memory",
        state.pod_memory_request_bytes,
        replicas=state.replicas,
        now_ms=now_ms,
        stale_after_ms=age_ms,
        target=of_ppm(blueprint.resources.memory.target_utilization_ppm),
    )
    pressures = tuple(
        _pressure(blueprint, metric.type, of_ppm(metric.weight_ppm), values, cpu, memory, state.replicas)
        for metric in blueprint.scaling.metrics
        if metric.weight_ppm
    )
    missing = [(p.metric, f"spec.scaling.metrics[{p.metric}]") for p in pressures if p.missing]
    violations, unmeasured = _against_targets(blueprint, values)
    pressed = _is_pressed(blueprint, pressures)
    demand = tuple(v for v in violations if v.metric == "throughput_mrps" and not pressed)
    return Evidence(
        cpu=cpu,
        memory=memory,
        pressures=pressures,
        pressed=pressed,
        violations=tuple(v for v in violations if v not in demand),
        demand=demand,
        unknown=(*missing, *unmeasured),
        values=values,
    )


def comfortable(blueprint: Blueprint) -> Fraction:
    """The score up to which replicas may be loaded: noise of the tolerance on two readings cannot bring it from there over
    the upper threshold.
    """
    tolerance = of_ppm(blueprint.scaling.tolerance_ppm)
    return of_ppm(blueprint.scaling.scale_up_threshold_ppm) * (1 - tolerance) / (1 + tolerance)


def _is_pressed(blueprint: Blueprint, pressures: tuple[Pressure, ...]) -> bool:
    """The processors do more than the tolerance allows, or the score is no longer comfortable."""
    target = of_ppm(blueprint.resources.cpu.target_utilization_ppm) * (1 + of_ppm(blueprint.scaling.tolerance_ppm))
    if any(p.metric == "cpu" and p.low is not None and p.low > target for p in pressures):
        return True
    score = sum((p.weight * p.low for p in pressures if p.low is not None), Fraction(0))
    return blueprint.scaling.mode == "thresholds" and score > comfortable(blueprint)


def _pressure(
    blueprint: Blueprint,
    metric: ScalingMetricType,
    weight: Fraction,
    values: dict[MetricName, int],
    cpu: Utilisation | None,
    memory: Utilisation | None,
    replicas: int,
) -> Pressure:
    if metric in ("cpu", "memory"):
        used = cpu if metric == "cpu" else memory
        low, high = (used.low, used.high) if used is not None else (None, None)
        return Pressure(metric=metric, weight=weight, low=low, high=high)
    share = _share(blueprint, metric, values, replicas)
    return Pressure(metric=metric, weight=weight, low=share, high=share)


def _share(
    blueprint: Blueprint, metric: ScalingMetricType, values: dict[MetricName, int], replicas: int
) -> Fraction | None:
    wanted = blueprint.performance
    if metric == "latency":
        name, target = leading_latency(blueprint)
        return _ratio(values.get(name), target)
    if metric == "error_rate":
        return _ratio(values.get("error_rate_ppm"), wanted.error_rate_max_ppm)
    if metric == "queue_depth":
        return _ratio(values.get("queue_depth"), wanted.queue_depth_max)
    each = mrps_per_replica(blueprint)
    return _ratio(values.get("throughput_mrps"), each * max(1, replicas) if each is not None else None)


def _ratio(value: int | None, target: int | Fraction | None) -> Fraction | None:
    return Fraction(value) / target if value is not None and target else None


def leading_latency(blueprint: Blueprint) -> tuple[MetricName, int | None]:
    """The percentile that stands for latency in the weighted sum: p95 if it has a target, else p99, else p50."""
    wanted = blueprint.performance
    if wanted.latency_p95_us is not None:
        return "latency_p95_us", wanted.latency_p95_us
    if wanted.latency_p99_us is not None:
        return "latency_p99_us", wanted.latency_p99_us
    return "latency_p50_us", wanted.latency_p50_us


def mrps_per_replica(blueprint: Blueprint) -> Fraction | None:
    """What one replica is meant to carry: throughput_target (or _min) shared by target_replicas (or min_replicas)."""
    wanted, scaling = blueprint.performance, blueprint.scaling
    total = wanted.throughput_target_mrps or wanted.throughput_min_mrps
    return Fraction(total, max(1, scaling.target_replicas or scaling.min_replicas)) if total else None


def _against_targets(
    blueprint: Blueprint, values: dict[MetricName, int]
) -> tuple[tuple[Violation, ...], tuple[tuple[str, str], ...]]:
    violations, unmeasured = [], []
    for field, metric, key, bound, needs_load in _TARGETS:
        target, reference = getattr(blueprint.performance, field), f"spec.performance.{key}"
        if target is None:
            continue
        value = values.get(metric)
        if value is None:
            unmeasured.append((metric, reference))
        elif value > target if bound == "max" else value < target:
            violations.append(
                Violation(metric=metric, value=value, target=target, reference=reference, needs_load=needs_load)
            )
    return tuple(violations), tuple(unmeasured)


def confidence_percent(evidence: Evidence) -> int:
    """How much of the weighted sum rests on pods and metrics that were really seen, 0-100."""
    known = Fraction(0)
    for pressure in evidence.pressures:
        used = {"cpu": evidence.cpu, "memory": evidence.memory}.get(pressure.metric)
        if used is not None:
            known += pressure.weight * Fraction(used.counted, used.counted + used.missing + used.not_ready)
        elif not pressure.missing:
            known += pressure.weight
    total = sum((p.weight for p in evidence.pressures), Fraction(0))
    return to_ppm(known / total) // 10_000 if total else 0


def shown(metric: MetricName, value: int) -> str:
    """A value for people: `220 ms`, `150 req/s`, `0.5 %`, `12`."""
    if metric.endswith("_us"):
        return f"{value / 1000:g} ms"
    if metric.endswith("_mrps"):
        return f"{value / 1000:g} req/s"
    if metric.endswith("_ppm"):
        return f"{value / 10_000:g} %"
    return str(value)
