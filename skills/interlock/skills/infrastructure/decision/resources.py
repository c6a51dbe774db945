"""Requests and limits against what is really used (FR-012): the busiest pod of a whole window decides, not one moment."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import msgspec
from msgspec import Struct

from interlock.skills.infrastructure.blueprint.model import Blueprint, Cpu, Memory
from interlock.skills.infrastructure.decision.history import History
from interlock.skills.infrastructure.decision.reasons import Reason, Why, of_ppm, percent
from interlock.skills.infrastructure.decision.window import highest
from interlock.skills.infrastructure.observed import ObservedState
from interlock.skills.infrastructure.operations import PatchResources
from interlock.skills.infrastructure.target import ContainerResources

CPU_STEP_M = 10
MEMORY_STEP_BYTES = 8 << 20
# Use this near to a limit is throttled or killed soon, whatever the request says.
NEAR_LIMIT = Fraction(9, 10)
MIN_USAGE_WINDOW_MS = 900_000
SETTLING_MS = 300_000


class Fit(Struct, frozen=True, kw_only=True):
    """What one resource should ask for."""

    request: int
    limit: int
    reasons: tuple[Reason, ...]
    is_less: bool


def is_waiting(blueprint: Blueprint, history: History, now_ms: int) -> bool:
    """Settings were changed so lately that the effect is still being watched, or somebody was asked whether to change
    them and has not had the time to answer.
    """
    changed_ms, asked_ms = history.adjusted_ms, history.asked_ms
    settling_ms = max(blueprint.scaling.stabilization_window_ms, SETTLING_MS)
    return (changed_ms is not None and now_ms - changed_ms < settling_ms) or (
        asked_ms is not None and now_ms - asked_ms < blueprint.governance.approval_timeout_ms
    )


def is_rolled_out(state: ObservedState) -> bool:
    """No rollout is under way, as far as the state tells."""
    return state.rollout is None or state.rollout.complete


class Band(Struct, frozen=True, kw_only=True):
    """Where utilisation should be: around target, not farther away than threshold (a share of the target).

    slack: how far two readings of the same load may lie apart, 1 for a first adjustment.
    """

    target: Fraction
    threshold: Fraction
    slack: Fraction = Fraction(1)

    def fits(self, ratio: Fraction) -> bool:
        """Whether ratio, of utilisation to target, is near enough to 1."""
        return (1 - self.threshold) / self.slack <= ratio <= (1 + self.threshold) * self.slack


def fit(name: str, used: int, request: int, limit: int, band: Band, step: int) -> Fit | None:
    """None while used / request is in the band and used below nine tenths of the limit.

    request := used / target, rounded up to a whole step; a limit that is nearly reached := the same. The request never
    exceeds the limit. used, request, limit, step: millicores or bytes.
    """
    target, ratio = band.target, Fraction(used, request) / band.target
    wanted, new_limit = request, limit
    reasons: list[Reason] = []
    if used >= limit * NEAR_LIMIT:
        new_limit = max(limit, _stepped(used / target, step))
        text = f"{name}: the busiest pod uses {percent(Fraction(used, limit))} of the limit"
        reasons.append(Reason(code=Why.UNDER_PROVISIONED, text=text, reference=f"spec.resources.{name}.limit"))
    if not band.fits(ratio):
        wanted = min(_stepped(used / target, step), new_limit)
        code = Why.OVER_PROVISIONED if ratio < 1 else Why.UNDER_PROVISIONED
        text = (
            f"{name}: the busiest pod uses {percent(Fraction(used, request))} of the request, the target is "
            f"{percent(target)}, and it differs by more than {percent(band.threshold)} of it"
        )
        reasons.append(Reason(code=code, text=text, reference=f"spec.resources.{name}.optimization_threshold"))
    if (wanted, new_limit) == (request, limit):
        return None
    return Fit(request=wanted, limit=new_limit, reasons=tuple(reasons), is_less=wanted < request)


def _stepped(amount: Fraction, step: int) -> int:
    return max(1, ceil(amount / step)) * step


def usage_window_ms(blueprint: Blueprint) -> int:
    """Over which time the busiest pod is sought."""
    return max(blueprint.scaling.stabilization_window_ms, MIN_USAGE_WINDOW_MS)


def optimise(
    blueprint: Blueprint, state: ObservedState, history: History, now_ms: int
) -> tuple[PatchResources, tuple[Reason, ...]] | None:
    """A better fit for the container of the blueprint, once a whole window was watched; None if it fits.

    Only where the pod is that one container: what the others of a pod use is not told apart.
    """
    seen, window_ms = state.resources, usage_window_ms(blueprint)
    watched = history.since_ms is not None and now_ms - history.since_ms >= window_ms
    if history.scaled_ms is not None and now_ms - history.scaled_ms < window_ms:
        return None  # what a pod uses is another matter since then
    if seen is None or not watched or is_waiting(blueprint, history, now_ms) or not is_rolled_out(state):
        return None
    rules, tolerance = blueprint.resources, of_ppm(blueprint.scaling.tolerance_ppm)
    slack = (1 + tolerance) / (1 - tolerance) if history.settled is not None else Fraction(1)
    cpu = _fit_one(
        "cpu",
        highest(history.cpu_peaks, now_ms, window_ms),
        (seen.cpu_request_m, seen.cpu_limit_m, state.pod_cpu_request_m),
        _band(rules.cpu, slack),
        CPU_STEP_M,
    )
    memory = _fit_one(
        "memory",
        highest(history.memory_peaks, now_ms, window_ms),
        (seen.memory_request_bytes, seen.memory_limit_bytes, state.pod_memory_request_bytes),
        _band(rules.memory, slack),
        MEMORY_STEP_BYTES,
    )
    # Above the usual number fewer replicas come first: smaller pods would keep them all busy.
    usual = max(blueprint.scaling.min_replicas, blueprint.scaling.target_replicas or 0)
    cpu, memory = (None if f is not None and f.is_less and state.replicas > usual else f for f in (cpu, memory))
    after = seen
    reasons: list[Reason] = []
    if cpu is not None:
        after = msgspec.structs.replace(after, cpu_request_m=cpu.request, cpu_limit_m=cpu.limit)
        reasons.extend(cpu.reasons)
    if memory is not None:
        after = msgspec.structs.replace(after, memory_request_bytes=memory.request, memory_limit_bytes=memory.limit)
        reasons.extend(memory.reasons)
    return (_patch(blueprint, state, seen, after), tuple(reasons)) if after != seen else None


def _band(rules: Cpu | Memory, slack: Fraction) -> Band:
    target, threshold = of_ppm(rules.target_utilization_ppm), of_ppm(rules.optimization_threshold_ppm)
    return Band(target=target, threshold=threshold, slack=slack)


def _fit_one(
    name: str, used: int | None, seen: tuple[int | None, int | None, int | None], band: Band, step: int
) -> Fit | None:
    """seen: the container's request and limit, and what the whole pod requests."""
    request, limit, of_pod = seen
    if used is None or not request or not limit or request != of_pod:
        return None
    return fit(name, used, request, limit, band, step)


def _patch(
    blueprint: Blueprint, state: ObservedState, before: ContainerResources, after: ContainerResources
) -> PatchResources:
    return PatchResources(target=state.target, container=blueprint.target.container, before=before, after=after)


def to_blueprint(blueprint: Blueprint, state: ObservedState, history: History) -> PatchResources | None:
    """Back to the blueprint's requests and limits, unless others were set on purpose since that blueprint came into force."""
    wanted = blueprint.resources.of_container()
    if state.resources is None or state.resources == wanted:
        return None
    if history.settled == state.resources and history.digest == blueprint.digest:
        return None
    return _patch(blueprint, state, state.resources, wanted)
