"""What a task wants to do with its capability token. Pure."""

from __future__ import annotations

from interlock.agents.goal.resources import task_resources
from interlock.bus.hop import Hop
from interlock.envelope.capability_token import Use
from interlock.envelope.payloads import Task


def use_of(hop: Hop, task: Task, agent: str, capability: str) -> Use:
    """agent: who would run it; capability: what its skill needs."""
    envelope = hop.envelope
    return Use(
        agent=agent,
        capability=capability,
        resources=task_resources(task),
        goal_id=envelope.goal_id,
        envelope=envelope.id,
        now_ms=hop.now_ms,
        deadline_ms=hop.origin.deadline_ms,
        held=envelope.policy_context.capabilities,
        budget=envelope.budget.amount,
        contract_ref=envelope.policy_context.contract_ref,
    )
