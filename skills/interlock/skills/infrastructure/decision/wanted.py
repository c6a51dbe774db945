"""How many replicas the metrics ask for, before limits, steps, cooldown and stabilisation: by thresholds on the weighted
score, or by target utilisation (docs/blueprints.md has the formulas).
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil

from msgspec import Struct

from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.decision.evidence import (
    Evidence,
    Pressure,
    Violation,
    comfortable,
    leading_latency,
    shown,
)
from interlock.skills.infrastructure.decision.reasons import Reason, Why, of_ppm, percent
from interlock.skills.infrastructure.decision.replicas import replicas_for_target
from interlock.skills.infrastructure.observed import ObservedState

ONE = Fraction(1)
_THRESHOLD_UP = "spec.scaling.scale_up_threshold"
_THRESHOLD_DOWN = "spec.scaling.scale_down_threshold"


class Wanted(Struct, frozen=True, kw_only=True):
    """replicas: what the load asks for, as far from the current number as it may be. by_load: utilisation asks for more."""

    replicas: int
    reasons: tuple[Reason, ...]
    by_load: bool = False


def wanted_replicas(blueprint: Blueprint, state: ObservedState, evidence: Evidence) -> Wanted:
    """By the blueprint's mode. Targets that are violated ask for one increment more in either mode."""
    scaling, current = blueprint.scaling, state.replicas
    asked = (
        _by_target(blueprint, state, evidence)
        if scaling.mode == "target_utilization"
        else _by_thresholds(blueprint, current, evidence)
    )
    pressing = [v for v in evidence.violations if evidence.pressed or not v.needs_load]
    if pressing:
        reasons = tuple(_violated(violation) for violation in pressing)
        more = max(asked.replicas, current + scaling.scale_up_increment)
        kept = asked.reasons if asked.replicas > current else ()
        return Wanted(replicas=more, reasons=(*kept, *reasons), by_load=asked.by_load)
    notes = tuple(_violated(violation, idle=True) for violation in (*evidence.violations, *evidence.demand))
    if asked.replicas < current and evidence.violations:
        return Wanted(replicas=current, reasons=notes)
    return Wanted(replicas=asked.replicas, reasons=(*asked.reasons, *notes), by_load=asked.by_load)


def _violated(violation: Violation, *, idle: bool = False) -> Reason:
    value, target = shown(violation.metric, violation.value), shown(violation.metric, violation.target)
    side = "above" if violation.value > violation.target else "below"
    text = f"{named(violation.metric)} is {value}, {side} the target {target}"
    if not idle:
        return Reason(code=Why.TARGET_VIOLATED, text=text, reference=violation.reference)
    return Reason(
        code=Why.NOT_SCALING_MATTER,
        text=f"{text}, but nothing presses on the replicas: more of them would not mend it",
        reference=violation.reference,
    )


def named(metric: str) -> str:
    """`latency_p95_us` as people say it: `latency p95`."""
    for unit in ("_us", "_mrps", "_ppm"):
        metric = metric.removesuffix(unit)
    return metric.replace("_", " ")


def _by_thresholds(blueprint: Blueprint, current: int, evidence: Evidence) -> Wanted:
    scaling = blueprint.scaling
    upper, lower = of_ppm(scaling.scale_up_threshold_ppm), of_ppm(scaling.scale_down_threshold_ppm)
    above = _above(blueprint, evidence, upper)
    if above:
        return Wanted(replicas=current + scaling.scale_up_increment, reasons=tuple(above), by_load=True)
    score = evidence.score_high
    if score is None or score >= lower:
        seen = f"the weighted score is {percent(evidence.score_low)}"
        text = f"{seen}, between {percent(lower)} and {percent(upper)}" if score is not None else f"{seen} at least"
        return Wanted(
            replicas=current, reasons=(Reason(code=Why.BETWEEN_THRESHOLDS, text=text, reference=_THRESHOLD_UP),)
        )
    return Wanted(
        replicas=min(current, fewest(score, current, comfortable(blueprint))),
        reasons=(
            Reason(
                code=Why.BELOW_THRESHOLD,
                text=f"the weighted score is {percent(score)}, below {percent(lower)}",
                reference=_THRESHOLD_DOWN,
            ),
        ),
    )


def fewest(score: Fraction, current: int, ceiling: Fraction) -> int:
    """The fewest replicas at which the score, spread over them, stays within the ceiling."""
    return ceil(score * current / ceiling)


def _above(blueprint: Blueprint, evidence: Evidence, upper: Fraction) -> list[Reason]:
    found = []
    if evidence.score_low > upper:
        text = f"the weighted score is {percent(evidence.score_low)}, above {percent(upper)}"
        found.append(Reason(code=Why.ABOVE_THRESHOLD, text=text, reference=_THRESHOLD_UP))
    for pressure in evidence.pressures:
        target = utilisation_target(blueprint, pressure)
        if target is None or pressure.low is None:
            continue
        tolerated = target * (1 + of_ppm(blueprint.scaling.tolerance_ppm))
        if pressure.low > upper and pressure.low > tolerated:
            text = f"{pressure.metric} is used to {percent(pressure.low)} of what is requested, above {percent(upper)}"
            found.append(Reason(code=Why.ABOVE_THRESHOLD, text=text, reference=_THRESHOLD_UP))
    return found


def utilisation_target(blueprint: Blueprint, pressure: Pressure) -> Fraction | None:
    """target_utilization for cpu and memory; None for what is measured against a performance target."""
    if pressure.metric == "cpu":
        return of_ppm(blueprint.resources.cpu.target_utilization_ppm)
    if pressure.metric == "memory":
        return of_ppm(blueprint.resources.memory.target_utilization_ppm)
    return None


def _by_target(blueprint: Blueprint, state: ObservedState, evidence: Evidence) -> Wanted:
    """The largest number that any weighted metric asks for, as the HPA chooses among several metrics."""
    asked = [(_one_metric(blueprint, state, evidence, p), p) for p in evidence.pressures if not p.missing]
    if not asked:
        return Wanted(replicas=state.replicas, reasons=())
    most, pressure = max(asked, key=lambda pair: pair[0])
    target = utilisation_target(blueprint, pressure) or ONE
    low = pressure.low or Fraction(0)
    code, side = Why.ON_TARGET, f"within {percent(of_ppm(blueprint.scaling.tolerance_ppm))} of"
    if most > state.replicas:
        code, side = Why.ABOVE_TARGET, "above"
    elif most < state.replicas:
        code, side = Why.BELOW_TARGET, "below"
    text = f"{pressure.metric} is at {percent(low)}, {side} its target {percent(target)}: {most} replicas"
    return Wanted(
        replicas=most,
        reasons=(Reason(code=code, text=text, reference=_target_reference(blueprint, pressure)),),
        by_load=most > state.replicas,
    )


def _one_metric(blueprint: Blueprint, state: ObservedState, evidence: Evidence, pressure: Pressure) -> int:
    tolerance, current = of_ppm(blueprint.scaling.tolerance_ppm), state.replicas
    used = {"cpu": evidence.cpu, "memory": evidence.memory}.get(pressure.metric)
    target = utilisation_target(blueprint, pressure)
    if used is not None and target is not None:
        return replicas_for_target(current, used, target, tolerance)
    ratio = pressure.low or Fraction(0)
    if abs(ratio - 1) <= tolerance:
        return current
    if ratio < 1:
        return min(current, ceil(current * ratio))
    pods = current if pressure.metric == "throughput" else min(state.ready_replicas, current)
    return max(current, ceil(pods * ratio))


def _target_reference(blueprint: Blueprint, pressure: Pressure) -> str:
    if pressure.metric in ("cpu", "memory"):
        return f"spec.resources.{pressure.metric}.target_utilization"
    if pressure.metric == "latency":
        return f"spec.performance.{leading_latency(blueprint)[0].removesuffix('_us')}"
    if pressure.metric == "throughput":
        target = blueprint.performance.throughput_target_mrps
        return f"spec.performance.throughput_{'target' if target else 'min'}"
    return "spec.performance." + ("error_rate_max" if pressure.metric == "error_rate" else "queue_depth_max")
