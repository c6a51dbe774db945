"""Where the object's own settings differ from the blueprint: strategy, probes, resources. One change at a time."""

from __future__ import annotations

from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.decision.history import History
from interlock.skills.infrastructure.decision.reasons import Reason, Why
from interlock.skills.infrastructure.decision.resources import is_rolled_out, is_waiting, to_blueprint
from interlock.skills.infrastructure.observed import ObservedState
from interlock.skills.infrastructure.operations import ChangeProbes, ModifyStrategy, Operation
from interlock.skills.infrastructure.target import Probe


def reconcile(
    blueprint: Blueprint, state: ObservedState, history: History, now_ms: int
) -> tuple[Operation, tuple[Reason, ...]] | None:
    """The first change that brings the object to the blueprint; None if there is none, a rollout is under way, or the
    last change is still being watched: what something else keeps changing back is not fought over at every look.

    What the state does not tell (None) is not changed: nothing is known about it.
    """
    if not is_rolled_out(state) or is_waiting(blueprint, history, now_ms):
        return None
    patch = to_blueprint(blueprint, state, history)
    if patch is not None:
        return patch, (_differs("requests or limits", "spec.resources"),)
    if blueprint.deployment is not None and state.settings is not None and state.settings != blueprint.deployment:
        strategy = ModifyStrategy(target=state.target, settings=blueprint.deployment)
        return strategy, (_differs("the deployment strategy", "spec.deployment"),)
    readiness = _changed(blueprint.reliability.readiness_probe, state.readiness)
    liveness = _changed(blueprint.reliability.liveness_probe, state.liveness)
    if readiness is None and liveness is None:
        return None
    reasons = []
    if readiness is not None:
        reasons.append(_differs("the readiness probe", "spec.reliability.readiness_probe"))
    if liveness is not None:
        reasons.append(_differs("the liveness probe", "spec.reliability.liveness_probe"))
    container = blueprint.target.container
    return ChangeProbes(target=state.target, container=container, readiness=readiness, liveness=liveness), tuple(
        reasons
    )


def _changed(wanted: Probe | None, seen: Probe | None) -> Probe | None:
    return wanted if wanted is not None and seen is not None and wanted != seen else None


def _differs(what: str, reference: str) -> Reason:
    return Reason(
        code=Why.DIFFERS_FROM_BLUEPRINT, text=f"the object differs from the blueprint: {what}", reference=reference
    )
