"""From what the metrics ask for to what is done now: limits, budget, steps, stabilisation, hysteresis, cooldown."""

from __future__ import annotations

from fractions import Fraction

from msgspec import Struct

from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.decision.evidence import Evidence, comfortable
from interlock.skills.infrastructure.decision.history import History, Load, Raised
from interlock.skills.infrastructure.decision.reasons import Reason, Why, of_ppm, rounded, seconds
from interlock.skills.infrastructure.decision.resources import is_rolled_out
from interlock.skills.infrastructure.decision.utilisation import is_starting
from interlock.skills.infrastructure.decision.wanted import Wanted, fewest, wanted_replicas
from interlock.skills.infrastructure.decision.window import highest
from interlock.skills.infrastructure.observed import ObservedState

# A target that was violated may have had another cause than load: after this time fewer replicas are tried again.
VIOLATION_MEMORY_MS = 3_600_000


class Proposal(Struct, frozen=True, kw_only=True):
    """replicas: what to set now (the current number: leave it). recommended: what the load alone asks for, for the
    stabilisation window. idle: nothing is wanted, so that something else may be improved.
    """

    replicas: int
    recommended: int
    reasons: tuple[Reason, ...]
    by_load: bool = False
    idle: bool = False


def propose(blueprint: Blueprint, state: ObservedState, evidence: Evidence, history: History, now_ms: int) -> Proposal:
    """The replicas for one service. Never outside the limits, never inside a cooldown, never down without every metric."""
    scaling, current = blueprint.scaling, state.replicas
    if not scaling.min_replicas <= current <= scaling.max_replicas:
        return _inside(blueprint, current, evidence, history, now_ms)
    missing = tuple(_missing(metric, reference) for metric, reference in evidence.unknown)
    weighted_missing = any(pressure.missing for pressure in evidence.pressures)
    if weighted_missing and scaling.on_missing_metrics == "hold":
        return Proposal(replicas=current, recommended=current, reasons=(*missing, _policy("hold")))
    wanted = _kept_in_cost(blueprint, current, evidence, wanted_replicas(blueprint, state, evidence))
    if wanted.replicas > current:
        step = 1 if weighted_missing else scaling.scale_up_increment
        notes = (*missing, _policy("shrink")) if weighted_missing else ()
        return _up(blueprint, state, wanted, step, notes, history, now_ms)
    if wanted.replicas < current:
        if missing:
            return Proposal(replicas=current, recommended=current, reasons=(*wanted.reasons, *missing))
        return _down(blueprint, state, evidence, wanted, history, now_ms)
    kept = _why_kept(blueprint, current, wanted)
    reasons = (*wanted.reasons, *kept, *missing)
    return Proposal(replicas=current, recommended=current, reasons=reasons, idle=not evidence.violations)


def _why_kept(blueprint: Blueprint, current: int, wanted: Wanted) -> tuple[Reason, ...]:
    """Why a score below the lower threshold takes no replica away."""
    if all(reason.code is not Why.BELOW_THRESHOLD for reason in wanted.reasons):
        return ()
    if current <= blueprint.scaling.min_replicas:
        return (_at_min(current),)
    text = f"{current - 1} replicas would bring the score back near scale_up_threshold"
    return (Reason(code=Why.WOULD_COME_BACK, text=text, reference="spec.scaling.tolerance"),)


def _at_min(current: int) -> Reason:
    text = f"{current} replicas are min_replicas already"
    return Reason(code=Why.AT_MIN, text=text, reference="spec.scaling.min_replicas")


def _inside(blueprint: Blueprint, current: int, evidence: Evidence, history: History, now_ms: int) -> Proposal:
    """Back to the nearest limit at once: the blueprint is the only authority."""
    scaling = blueprint.scaling
    if current < scaling.min_replicas:
        bound, code, name = scaling.min_replicas, Why.BELOW_MIN, "min_replicas"
    else:
        bound, code, name = scaling.max_replicas, Why.ABOVE_MAX, "max_replicas"
    side = "below" if current < bound else "above"
    why = Reason(code=code, text=f"{current} replicas are {side} {name} ({bound})", reference=f"spec.scaling.{name}")
    if bound < current and evidence.unknown:
        missing = tuple(_missing(metric, reference) for metric, reference in evidence.unknown)
        return Proposal(replicas=current, recommended=current, reasons=(why, *missing))
    cooling = _cooling(blueprint, bound > current, history, now_ms)
    return Proposal(
        replicas=current if cooling else bound,
        recommended=bound,
        reasons=(why, cooling) if cooling else (why,),
    )


def _up(
    blueprint: Blueprint,
    state: ObservedState,
    wanted: Wanted,
    step: int,
    notes: tuple[Reason, ...],
    history: History,
    now_ms: int,
) -> Proposal:
    scaling, current = blueprint.scaling, state.replicas
    recommended = min(wanted.replicas, scaling.max_replicas)
    reasons = [*wanted.reasons, *notes]
    blocked = None
    if current >= scaling.max_replicas:
        text = f"{current} replicas are max_replicas already"
        blocked = Reason(code=Why.AT_MAX, text=text, reference="spec.scaling.max_replicas")
    elif not wanted.by_load and (starting := _starting(state, now_ms)):
        text = f"{starting} of {current} replicas are still starting; their effect is not known yet"
        blocked = Reason(code=Why.PODS_STARTING, text=text, reference="spec.reliability.readiness_probe")
    else:
        blocked = _cooling(blueprint, True, history, now_ms)
    if blocked is not None:
        return Proposal(replicas=current, recommended=recommended, reasons=(*reasons, blocked), by_load=wanted.by_load)
    replicas = min(recommended, current + step)
    if replicas < wanted.replicas and replicas == scaling.max_replicas:
        text = f"{wanted.replicas} replicas would be above max_replicas ({replicas})"
        reasons.append(Reason(code=Why.AT_MAX, text=text, reference="spec.scaling.max_replicas"))
    elif replicas < recommended:
        text = f"at most {step} more at a time, of {recommended} wanted"
        reasons.append(Reason(code=Why.STEP_LIMITED, text=text, reference="spec.scaling.scale_up_increment"))
    text = f"{replicas} is not above max_replicas ({scaling.max_replicas})"
    reasons.append(Reason(code=Why.WITHIN_LIMITS, text=text, reference="spec.scaling.max_replicas"))
    return Proposal(replicas=replicas, recommended=recommended, reasons=tuple(reasons), by_load=wanted.by_load)


def _down(
    blueprint: Blueprint, state: ObservedState, evidence: Evidence, wanted: Wanted, history: History, now_ms: int
) -> Proposal:
    scaling, current = blueprint.scaling, state.replicas
    recommended = max(wanted.replicas, scaling.min_replicas)
    blocked: Reason | None
    if current <= scaling.min_replicas:
        return Proposal(replicas=current, recommended=current, reasons=(*wanted.reasons, _at_min(current)), idle=True)
    if not is_rolled_out(state):
        text = "a rollout is under way; replicas are not taken away from it"
        blocked = Reason(code=Why.ROLLING_OUT, text=text, reference="spec.deployment")
    else:
        blocked = _cooling(blueprint, False, history, now_ms)
    floor = max(recommended, current - scaling.scale_down_increment)
    stable = max(floor, _stabilised(blueprint, current, history, now_ms))
    kept = max(stable, too_few(blueprint, evidence, history, now_ms) + 1)
    if blocked is None and stable >= current:
        text = (
            f"a higher number was wanted within the last {seconds(scaling.stabilization_window_ms)}, or not yet known"
        )
        blocked = Reason(code=Why.STABILISING, text=text, reference="spec.scaling.stabilization_window")
    elif blocked is None and kept >= current:
        text = f"{current - 1} replicas were too few for this load before"
        blocked = Reason(code=Why.WOULD_COME_BACK, text=text, reference="spec.scaling.tolerance")
    if blocked is not None:
        return Proposal(replicas=current, recommended=recommended, reasons=(*wanted.reasons, blocked))
    text = f"{kept} is not below min_replicas ({scaling.min_replicas})"
    within = Reason(code=Why.WITHIN_LIMITS, text=text, reference="spec.scaling.min_replicas")
    return Proposal(replicas=kept, recommended=recommended, reasons=(*wanted.reasons, within))


def _stabilised(blueprint: Blueprint, current: int, history: History, now_ms: int) -> int:
    """The highest number recommended in the window; the current one until a whole window was watched."""
    window_ms = blueprint.scaling.stabilization_window_ms
    if window_ms == 0:
        return 0
    if history.since_ms is None or now_ms - history.since_ms < window_ms:
        return current
    return highest(history.recommendations, now_ms, window_ms) or 0


def too_few(blueprint: Blueprint, evidence: Evidence, history: History, now_ms: int) -> int:
    """The largest number of replicas that was too few for a load that today's cannot be told from within the tolerance."""
    tolerance = of_ppm(blueprint.scaling.tolerance_ppm)
    today = {load.metric: load.amount for load in loads(evidence)}
    return max((past.replicas for past in history.raised if _as_high(past, today, tolerance, now_ms)), default=0)


def _as_high(past: Raised, today: dict[str, int], tolerance: Fraction, now_ms: int) -> bool:
    if not past.by_load and now_ms - past.at_ms >= VIOLATION_MEMORY_MS:
        return False
    return any(
        load.metric in today and today[load.metric] * (1 + tolerance) >= load.amount * (1 - tolerance)
        for load in past.loads
    )


def loads(evidence: Evidence) -> tuple[Load, ...]:
    """What the service as a whole carries, whatever its replicas: comparable over time."""
    found = []
    if evidence.cpu is not None:
        cpu = evidence.cpu
        pods = cpu.counted + cpu.missing + cpu.not_ready
        found.append(Load("cpu", rounded(cpu.measured * pods * 1_000_000)))
    if (throughput := evidence.values.get("throughput_mrps")) is not None:
        found.append(Load("throughput", throughput))
    return tuple(found)


def _kept_in_cost(blueprint: Blueprint, current: int, evidence: Evidence, wanted: Wanted) -> Wanted:
    """Simulated cost: `cost` keeps replicas in the budget and goes back towards target_replicas, `balanced` keeps them in
    the budget while every target is met, `performance` does not go below target_replicas.
    """
    cost, scaling = blueprint.cost, blueprint.scaling
    if wanted.replicas > current:
        budget, each = cost.monthly_budget_micro_usd, cost.cost_per_replica_micro_usd
        if budget is None or not each or cost.optimization_priority == "performance":
            return wanted
        affordable = max(current, scaling.min_replicas, budget // each)
        if min(wanted.replicas, scaling.max_replicas) <= affordable or (
            cost.optimization_priority == "balanced" and evidence.violations
        ):
            return wanted
        text = f"{wanted.replicas} replicas would cost more than the monthly budget, which pays for {budget // each}"
        over = Reason(code=Why.OVER_BUDGET, text=text, reference="spec.cost.monthly_budget")
        return Wanted(replicas=affordable, reasons=(*wanted.reasons, over), by_load=wanted.by_load)
    target = scaling.target_replicas
    if target is None:
        return wanted
    if wanted.replicas < current and cost.optimization_priority == "performance" and wanted.replicas < target:
        text = f"performance comes first: not below target_replicas ({target})"
        floor = Reason(code=Why.COST_TARGET, text=text, reference="spec.cost.optimization_priority")
        return Wanted(replicas=min(current, target), reasons=(*wanted.reasons, floor))
    score = evidence.score_high
    if wanted.replicas != current or cost.optimization_priority != "cost" or score is None or current <= target:
        return wanted
    fewer = max(target, fewest(score, current, comfortable(blueprint)))
    if fewer >= current or evidence.violations:
        return wanted
    text = (
        f"cost comes first: {current} replicas are more than target_replicas ({target}), and {fewer} would carry this"
    )
    cheaper = Reason(code=Why.COST_TARGET, text=text, reference="spec.cost.optimization_priority")
    return Wanted(replicas=fewer, reasons=(*wanted.reasons, cheaper))


def _starting(state: ObservedState, now_ms: int) -> int:
    """Pods that were asked for and do not serve yet, though nothing says that they never will."""
    alive = [pod for pod in state.pods if not pod.deleting and pod.phase not in ("Failed", "Succeeded")]
    coming = sum(
        not pod.failing and (pod.phase == "Pending" or (not pod.ready and is_starting(pod, now_ms))) for pod in alive
    )
    return coming + max(0, state.replicas - len(alive))


def _cooling(blueprint: Blueprint, up: bool, history: History, now_ms: int) -> Reason | None:
    """The cooldown of a direction runs from the last change of replicas in either."""
    scaling = blueprint.scaling
    cooldown_ms = scaling.scale_up_cooldown_ms if up else scaling.scale_down_cooldown_ms
    if history.scaled_ms is None or now_ms - history.scaled_ms >= cooldown_ms:
        return None
    since = seconds(now_ms - history.scaled_ms)
    return Reason(
        code=Why.COOLDOWN,
        text=f"the replicas were changed {since} ago, the cooldown is {seconds(cooldown_ms)}",
        reference="spec.scaling.cooldown_period",
    )


def _missing(metric: str, reference: str) -> Reason:
    return Reason(
        code=Why.METRIC_MISSING,
        text=f"{metric} is not known or too old, so nothing is scaled down on it",
        reference=reference,
    )


def _policy(policy: str) -> Reason:
    text = {"hold": "a weighted metric is missing: hold", "shrink": "a weighted metric is missing: one step at most"}
    return Reason(code=Why.METRIC_MISSING, text=text[policy], reference="spec.scaling.on_missing_metrics")
