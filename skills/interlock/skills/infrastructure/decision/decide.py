"""decide(): the one answer for one service at one moment. Pure: the same question has the same answer for ever."""

from __future__ import annotations

import hashlib

from interlock.envelope.canonical import canonical
from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.decision.evidence import Evidence, confidence_percent, gather
from interlock.skills.infrastructure.decision.history import History
from interlock.skills.infrastructure.decision.model import BlueprintRef, Contribution, Decision, Kind, Noted
from interlock.skills.infrastructure.decision.reasons import Reason, to_ppm
from interlock.skills.infrastructure.decision.recovery import cure, failing_pods
from interlock.skills.infrastructure.decision.resources import optimise
from interlock.skills.infrastructure.decision.safety import FLEET_LIMITS, Breaker
from interlock.skills.infrastructure.decision.scaling import Proposal, loads, propose
from interlock.skills.infrastructure.decision.settings import reconcile
from interlock.skills.infrastructure.decision.utilisation import Resource, fresh_usage
from interlock.skills.infrastructure.observed import ObservedState
from interlock.skills.infrastructure.operations import Operation, PatchResources, RolloutUndo, Scale

_Choice = tuple[Kind, Operation | None, tuple[Reason, ...]]
_CLOSED = Breaker()


def decide(
    blueprint: Blueprint, state: ObservedState, history: History, now_ms: int, *, fleet: Breaker = _CLOSED
) -> Decision:
    """What to do about one service now; one operation at most.

    In this order: pods that cannot run, replicas outside the limits or too few, settings that differ from the blueprint,
    replicas too many, requests that do not fit. fleet: the breaker of all services together.
    """
    evidence = gather(blueprint, state, now_ms)
    proposal = propose(blueprint, state, evidence, history, now_ms)
    kind, operation, reasons = _choose(blueprint, state, history, proposal, now_ms)
    if operation is not None:
        stop = history.breaker.forbids(blueprint.safety, now_ms, "this service") or fleet.forbids(
            FLEET_LIMITS, now_ms, "all services"
        )
        if stop is not None:
            kind, operation, reasons = "hold", None, (*reasons, stop)
    now = figures(state, evidence)
    return Decision(
        id=_identity(blueprint, state, history, now_ms),
        at_ms=now_ms,
        blueprint=BlueprintRef(name=blueprint.name, version=blueprint.version, digest=blueprint.digest),
        target=state.target,
        kind=kind,
        operation=operation,
        reasons=reasons,
        contributions=tuple(
            Contribution(
                metric=p.metric,
                weight_ppm=to_ppm(p.weight),
                low_ppm=to_ppm(p.low) if p.low is not None else None,
                high_ppm=to_ppm(p.high) if p.high is not None else None,
                part_ppm=to_ppm(p.weight * p.low) if p.low is not None else 0,
            )
            for p in evidence.pressures
        ),
        score_ppm=to_ppm(evidence.score_low),
        confidence_percent=confidence_percent(evidence),
        now=now,
        then=_then(operation),
        noted=Noted(
            replicas=state.replicas,
            recommended=proposal.recommended,
            by_load=proposal.by_load,
            loads=loads(evidence),
            cpu_peak_m=_peak(blueprint, state, "cpu", now_ms),
            memory_peak_bytes=_peak(blueprint, state, "memory", now_ms),
            failing=len(failing_pods(state)),
        ),
    )


def _choose(blueprint: Blueprint, state: ObservedState, history: History, proposal: Proposal, now_ms: int) -> _Choice:
    sick = cure(blueprint, state, history, now_ms)
    if sick is not None and sick.operation is not None:
        return ("roll_back" if isinstance(sick.operation, RolloutUndo) else "restart"), sick.operation, sick.reasons
    if proposal.replicas > state.replicas:
        return "scale_up", _scale(state, proposal), proposal.reasons
    if sick is not None:
        return ("escalate" if sick.human else "hold"), None, sick.reasons
    change = reconcile(blueprint, state, history, now_ms)
    if change is not None:
        return "reconcile", *change
    if proposal.replicas < state.replicas:
        return "scale_down", _scale(state, proposal), proposal.reasons
    better = optimise(blueprint, state, history, now_ms) if proposal.idle else None
    if better is not None:
        return "optimise", *better
    return "hold", None, proposal.reasons


def _scale(state: ObservedState, proposal: Proposal) -> Scale:
    return Scale(target=state.target, from_replicas=state.replicas, replicas=proposal.replicas)


def _identity(blueprint: Blueprint, state: ObservedState, history: History, now_ms: int) -> str:
    asked = canonical([blueprint.digest, state, history, now_ms])
    return f"decision-{hashlib.sha256(asked).hexdigest()[:24]}"


def figures(state: ObservedState, evidence: Evidence) -> dict[str, int]:
    """What was seen, as the decision log tells it: names with units, only what is known."""
    found = {"replicas": state.replicas, "ready_replicas": state.ready_replicas}
    if evidence.cpu is not None:
        found["cpu_utilization_ppm"] = to_ppm(evidence.cpu.measured)
    if evidence.memory is not None:
        found["memory_utilization_ppm"] = to_ppm(evidence.memory.measured)
    found.update(sorted(evidence.values.items()))
    return found


def _then(operation: Operation | None) -> dict[str, int]:
    if isinstance(operation, Scale):
        return {"replicas": operation.replicas}
    if isinstance(operation, PatchResources):
        after = operation.after
        fields = ((name, getattr(after, name)) for name in after.__struct_fields__)
        return {name: value for name, value in fields if value is not None}
    if isinstance(operation, RolloutUndo):
        return {"revision": operation.to_revision}
    return {}


def _peak(blueprint: Blueprint, state: ObservedState, resource: Resource, now_ms: int) -> int | None:
    age_ms = blueprint.scaling.metrics_max_age_ms
    used = (fresh_usage(pod, resource, now_ms, age_ms) for pod in state.pods if not pod.deleting)
    return max((amount for amount in used if amount is not None), default=None)
