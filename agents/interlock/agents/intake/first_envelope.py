"""A goal's first envelope: the intake, with all that the goal may spend and what it was granted. Pure."""

from __future__ import annotations

from interlock.agents.goal.tags import compliance_tags
from interlock.bus.sender import Identity
from interlock.envelope.children import ROOT_STEP, Draft, root
from interlock.envelope.ids import trace_of
from interlock.envelope.model import Attestation, Envelope, PolicyContext
from interlock.envelope.payloads import Intake


def first_envelope(
    intake: Intake,
    goal_id: str,
    workspace: str,
    gateway: Identity,
    context: PolicyContext,
    grant: Attestation,
    *,
    began_ms: int,
    ttl_ms: int,
) -> Envelope:
    """Unsigned; grant: what the gateway gives the goal. The same arguments give the same envelope again."""
    draft = Draft(
        to="orchestrator",
        intent="plan",
        payload=intake,
        step=ROOT_STEP,
        budget=intake.budget_limits.amount,
        attestations=[grant],
    )
    return root(
        draft,
        goal_id=goal_id,
        workspace=workspace,
        trace_id=trace_of(goal_id),
        sender=gateway.agent,
        key_id=gateway.key.key_id,
        now_ms=began_ms,
        ttl_ms=ttl_ms,
        policy_context=context,
        compliance_tags=compliance_tags(intake),
    )
