"""From an envelope to the event that a goal's journal keeps of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from interlock.agents.goal.state import AnyEvent, Audited, Began, Escalated, Learned, Reviewed, Verified
from interlock.envelope.approval import ApprovalTerms
from interlock.envelope.children import Origin
from interlock.envelope.kind_quota import KindQuota
from interlock.envelope.model import Envelope
from interlock.envelope.payloads import (
    AuditReport,
    Escalation,
    Ground,
    Intake,
    KnowledgePack,
    PlanDraft,
    PlanVerdict,
    Verification,
)

Planned = PlanDraft | list[Ground]


def event_of(
    envelope: Envelope,
    origin: Origin,
    at_ms: int,
    planned: Planned,
    terms: ApprovalTerms,
    gates: Sequence[str] = (),
    kinds: Sequence[KindQuota] = (),
) -> AnyEvent | None:
    """What the envelope tells its goal; None if it tells it nothing. origin: the envelope as a parent. planned: for an
    intake, its draft or why there is none; not looked at otherwise. terms: what the goal is to ask
    of approvals; gates: without which it may not be released; kinds: what work of a kind may cost.
    """
    cause, payload = envelope.id, envelope.payload
    if isinstance(payload, Intake):
        return Began(
            cause=cause,
            at_ms=at_ms,
            origin=origin,
            intake=msgspec.structs.replace(payload, tasks=[], release=None),
            draft=planned if isinstance(planned, PlanDraft) else None,
            problems=[] if isinstance(planned, PlanDraft) else planned,
            grants=envelope.attestations,
            terms=terms,
            gates=list(gates),
            kinds=list(kinds),
        )
    if isinstance(payload, PlanVerdict):
        return Reviewed(cause=cause, at_ms=at_ms, origin=origin, verdict=payload)
    if isinstance(payload, Verification):
        return Verified(cause=cause, at_ms=at_ms, verification=payload, attestations=envelope.attestations)
    if isinstance(payload, AuditReport):
        return Audited(cause=cause, at_ms=at_ms, report=payload)
    if isinstance(payload, KnowledgePack):
        return Learned(cause=cause, at_ms=at_ms, pack=payload)
    if isinstance(payload, Escalation):
        return Escalated(cause=cause, at_ms=at_ms, sender=envelope.sender, escalation=payload)
    return None
