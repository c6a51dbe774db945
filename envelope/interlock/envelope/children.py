"""Making envelopes: a child from its parent, never from scratch (ENV-06); a root only where a goal enters.

A child inherits goal, trace, workspace and the parent's deadline; its budget, with those of its siblings, stays within
the parent's. Its id is derived from (workspace, parent, sender, step), so that a redelivered parent makes the same
children.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, Struct
from msgspec.structs import replace

from interlock.envelope.amounts import ZERO, Amount, time_ms, timestamp
from interlock.envelope.capabilities import exceeding
from interlock.envelope.ids import derived_id, is_agent_id, role_of, same_time, span_of
from interlock.envelope.model import (
    Attestation,
    CostEstimate,
    Envelope,
    Intent,
    PolicyContext,
    confidence,
)
from interlock.envelope.payloads import AnyPayload, Intake, RiskTier
from interlock.envelope.subjects import role_subject

ROOT_STEP = "intake"


class ChildRefused(Exception):
    """A child that would exceed its parent. reason: over_budget or expired."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class Origin(Struct, frozen=True):
    """What a child needs to know of its parent; small enough to be kept in an actor's journal."""

    id: str
    digest: str
    workspace: str
    goal_id: str
    trace_id: str
    deadline_ms: int
    budget: Amount
    risk_tier: RiskTier
    policy_context: PolicyContext
    compliance_tags: list[str]


class Draft(Struct, frozen=True, kw_only=True):
    """A child yet to be made: what an actor's core decides to send. step is unique among the parent's children."""

    to: str
    intent: Intent
    payload: AnyPayload
    step: str
    budget: Amount = ZERO
    ttl_ms: int | None = None
    confidence: int = 1000
    risk_tier: RiskTier | None = None
    cost: CostEstimate = CostEstimate()
    attestations: Sequence[Attestation] = ()


def origin_of(envelope: Envelope, digest: str) -> Origin:
    """The envelope as a parent. digest: SHA-256 of its wire bytes."""
    return Origin(
        id=envelope.id,
        digest=digest,
        workspace=envelope.workspace,
        goal_id=envelope.goal_id,
        trace_id=envelope.trace_id,
        deadline_ms=time_ms(envelope.created_at) + envelope.ttl_ms,
        budget=envelope.budget.amount,
        risk_tier=envelope.risk_tier,
        policy_context=envelope.policy_context,
        compliance_tags=envelope.compliance_tags,
    )


def family_problem(envelope: Envelope) -> str:
    """What is wrong with how an envelope names its parent, as far as that shows without the parent; empty if nothing: a
    child's id holds its parent's time, a root's follows from the goal.
    """
    if envelope.parent_id is not UNSET:
        if envelope.parent_digest is UNSET:
            return "it names a parent, but no parentDigest"
        return "" if same_time(envelope.id, envelope.parent_id) else "its id is not derived from its parent's"
    if role_of(envelope.sender) != "gateway" or not isinstance(envelope.payload, Intake):
        return "it has no parent, and only a gateway's intake may have none"
    if envelope.parent_digest is not UNSET:
        return "it names a parent's digest, but no parent"
    derived = derived_id(envelope.workspace, envelope.goal_id, envelope.sender, ROOT_STEP)
    return "" if envelope.id == derived else "its id is not derived from its goal's"


def exceeds(child: Origin, above: Origin) -> str:
    """In what an envelope goes beyond one that it comes from, however many are between them; empty if in nothing. For
    receivers that hold the upper one (envelope.md, Children).
    """
    if child.deadline_ms > above.deadline_ms:
        return f"its deadline is {child.deadline_ms - above.deadline_ms} ms after that of the goal"
    if not child.budget.within(above.budget):
        return "it holds more budget than the goal"
    if child.policy_context.contract_ref != above.policy_context.contract_ref:
        return "it names another contract than the goal began under"
    wider = exceeding(above.policy_context.capabilities, child.policy_context.capabilities)
    return f"the goal does not hold {', '.join(wider)[:300]}" if wider else ""


def derive(parent: Origin, draft: Draft, *, sender: str, key_id: str, now_ms: int, granted: Amount = ZERO) -> Envelope:
    """The unsigned child. granted: what the parent's other children hold already. Raises ChildRefused, and ValueError for
    a recipient or a confidence that no receiver would take.
    """
    if not is_agent_id(draft.to):
        raise ValueError(f"not an agent to send to: {draft.to[:130]!r}")
    if not ZERO.within(draft.budget):
        raise ChildRefused(
            "over_budget", f"step {draft.step} asks for less than nothing, which its siblings could spend"
        )
    if not (granted + draft.budget).within(parent.budget):
        left = (parent.budget - granted).budget
        raise ChildRefused("over_budget", f"step {draft.step} asks for more than is left of {parent.id}: {left}")
    ttl_ms = parent.deadline_ms - now_ms
    if draft.ttl_ms is not None:
        ttl_ms = min(ttl_ms, draft.ttl_ms)
    if ttl_ms <= 0:
        raise ChildRefused("expired", f"the deadline of {parent.id} passed {-ttl_ms} ms ago")
    child_id = derived_id(parent.workspace, parent.id, sender, draft.step)
    budget = draft.budget.budget
    return Envelope(
        id=child_id,
        workspace=parent.workspace,
        goal_id=parent.goal_id,
        trace_id=parent.trace_id,
        span_id=span_of(child_id),
        parent_id=parent.id,
        parent_digest=parent.digest,
        sender=sender,
        to=draft.to,
        subject=role_subject(parent.workspace, role_of(draft.to), parent.goal_id, draft.intent),
        intent=draft.intent,
        payload=draft.payload,
        policy_context=parent.policy_context,
        budget=budget,
        thinking_budget=budget.thinking_tokens,
        ttl_ms=ttl_ms,
        created_at=timestamp(now_ms),
        compliance_tags=parent.compliance_tags,
        confidence_score=confidence(draft.confidence),
        risk_tier=draft.risk_tier or parent.risk_tier,
        cost_estimate=draft.cost,
        attestations=list(draft.attestations),
        key_id=key_id,
        signature=UNSET,
    )


def root(
    draft: Draft,
    *,
    goal_id: str,
    workspace: str,
    trace_id: str,
    sender: str,
    key_id: str,
    now_ms: int,
    ttl_ms: int,
    policy_context: PolicyContext,
    compliance_tags: list[str],
) -> Envelope:
    """The first envelope of a goal, made by the gateway: the goal's whole budget and deadline."""
    origin = Origin(
        id=goal_id,
        digest="",
        workspace=workspace,
        goal_id=goal_id,
        trace_id=trace_id,
        deadline_ms=now_ms + ttl_ms,
        budget=draft.budget,
        risk_tier=draft.risk_tier or "minimal",
        policy_context=policy_context,
        compliance_tags=compliance_tags,
    )
    return replace(
        derive(origin, draft, sender=sender, key_id=key_id, now_ms=now_ms),
        parent_id=UNSET,
        parent_digest=UNSET,
    )
