"""What was done takes its time: how long it is given before it is verified. Pure."""

from __future__ import annotations

from interlock.agents.blueprints.watched import Pending
from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.decision.reasons import Reason, Why, seconds
from interlock.skills.infrastructure.observed import ObservedState


def is_under_way(blueprint: Blueprint, pending: Pending, state: ObservedState, now_ms: int) -> bool:
    """Whether pods are still being replaced, one after the other, each within the time that it may take."""
    rollout = state.rollout
    if rollout is None or rollout.complete or rollout.failing:
        return False
    return now_ms < pending.due_ms + blueprint.reliability.health_check_timeout_ms * max(1, state.replicas)


def still_verifying(pending: Pending, now_ms: int) -> Reason:
    """Why nothing else is done yet."""
    return Reason(
        code=Why.VERIFYING,
        text=f"what was done last is verified in {seconds(max(0, pending.due_ms - now_ms))}; nothing else is done before",
        reference="spec.reliability.verification_wait",
    )
