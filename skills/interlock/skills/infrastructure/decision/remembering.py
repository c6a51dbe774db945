"""The history after a decision, after its operation was begun, and after it ended. Pure: the log can be folded again."""

from __future__ import annotations

import msgspec

from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.decision.history import History, Raised, Sickness
from interlock.skills.infrastructure.decision.model import Decision
from interlock.skills.infrastructure.decision.recovery import still_sick
from interlock.skills.infrastructure.decision.resources import usage_window_ms
from interlock.skills.infrastructure.decision.safety import Outcome
from interlock.skills.infrastructure.decision.window import add_peak
from interlock.skills.infrastructure.operations import (
    ChangeProbes,
    ModifyStrategy,
    PatchResources,
    RestartPods,
    RolloutUndo,
    Scale,
)

_REVISIONS_KEPT = 20


def looked(history: History, blueprint: Blueprint, decision: Decision) -> History:
    """After a look at the service, whatever was decided. A new blueprint, a long gap or a clock that went back begins
    the watch anew; cooldown, failures and restarts go on.
    """
    now_ms, noted = decision.at_ms, decision.noted
    window_ms = blueprint.scaling.stabilization_window_ms
    fresh = history.digest != decision.blueprint.digest
    if fresh:
        history = msgspec.structs.replace(
            history, since_ms=None, recommendations=(), raised=(), settled=None, asked_ms=None
        )
    gap_ms = window_ms + blueprint.scaling.metrics_max_age_ms
    gap = history.seen_ms is None or not 0 <= now_ms - history.seen_ms < gap_ms
    cpu, memory, span_ms = history.cpu_peaks, history.memory_peaks, usage_window_ms(blueprint)
    if noted.cpu_peak_m is not None:
        cpu = add_peak(cpu, now_ms, noted.cpu_peak_m, span_ms)
    if noted.memory_peak_bytes is not None:
        memory = add_peak(memory, now_ms, noted.memory_peak_bytes, span_ms)
    return msgspec.structs.replace(
        history,
        digest=decision.blueprint.digest,
        since_ms=now_ms if gap or history.since_ms is None else history.since_ms,
        seen_ms=now_ms,
        recommendations=add_peak(history.recommendations, now_ms, noted.recommended, max(window_ms, 1)),
        cpu_peaks=cpu,
        memory_peaks=memory,
        sickness=still_sick(history, noted.failing, blueprint, now_ms),
    )


def began(history: History, blueprint: Blueprint, decision: Decision, now_ms: int) -> History:
    """After the decision's operation was begun (looked() came before)."""
    operation = decision.operation
    if operation is None:
        return history
    history = msgspec.structs.replace(history, breaker=history.breaker.began(blueprint.safety, now_ms))
    match operation:
        case Scale(replicas=replicas):
            raised = tuple(past for past in history.raised if past.replicas < min(replicas, operation.from_replicas))
            if replicas > operation.from_replicas and decision.noted.loads:
                raised = (*raised, _raised(decision, now_ms))
            return msgspec.structs.replace(history, scaled_ms=now_ms, raised=raised, cpu_peaks=(), memory_peaks=())
        case PatchResources(after=after):
            return msgspec.structs.replace(
                history, adjusted_ms=now_ms, asked_ms=None, settled=after, cpu_peaks=(), memory_peaks=(), raised=()
            )
        case RestartPods():
            past = history.sickness or Sickness(since_ms=now_ms, seen_ms=now_ms)
            return msgspec.structs.replace(
                history,
                sickness=msgspec.structs.replace(past, restarts=past.restarts + 1, restarted_ms=now_ms),
            )
        case ModifyStrategy() | ChangeProbes():
            return msgspec.structs.replace(history, adjusted_ms=now_ms, asked_ms=None)
        case _:
            return history


def asked(history: History, decision: Decision, now_ms: int) -> History:
    """After an approval was asked for, or refused. Settings are not asked about again before an approval would have timed
    out; replicas and failing pods are urgent, there a pending approval is the loop's to keep.
    """
    if decision.kind not in ("optimise", "reconcile"):
        return history
    return msgspec.structs.replace(history, asked_ms=now_ms)


def _raised(decision: Decision, now_ms: int) -> Raised:
    noted = decision.noted
    return Raised(replicas=noted.replicas, at_ms=now_ms, by_load=noted.by_load, loads=noted.loads)


def ended(
    history: History, blueprint: Blueprint, decision: Decision, outcome: Outcome, *, revision: int | None = None
) -> History:
    """After its outcome. revision: the revision that a rollback left behind, not to be returned to."""
    history = msgspec.structs.replace(history, breaker=history.breaker.ended(blueprint.safety, outcome))
    operation = decision.operation
    if isinstance(operation, RolloutUndo) and outcome == "done":
        undone = history.undone if revision is None else (*history.undone, revision)[-_REVISIONS_KEPT:]
        return msgspec.structs.replace(history, undone=undone, sickness=None)
    if isinstance(operation, PatchResources) and outcome != "done":
        return msgspec.structs.replace(history, settled=None)
    return history


def reset(history: History) -> History:
    """A human has looked and closes the breaker."""
    return msgspec.structs.replace(history, breaker=history.breaker.reset())
