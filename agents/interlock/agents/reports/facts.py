"""What reports know of a goal that ended: from its verified hops, its ledger entries and a replay. Pure."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from interlock.agents.audit.hop_graph import HopAudit
from interlock.agents.costs.attribution import Item, items_of
from interlock.agents.costs.charges import Account
from interlock.envelope.model import Envelope
from interlock.envelope.payloads import Completion, Finding, GateOutcome, RiskAssessment, TaskSummary


class Replayed(Struct, frozen=True):
    """Decisions of a goal that today's code was asked again; first: where it differs, empty if nowhere."""

    decisions: int = 0
    equal: int = 0
    first: str = ""


class GoalFacts(Struct, frozen=True, kw_only=True):
    """ended_ms: when its completion was stored. limit_micro: what it might have cost. carbon_micrograms: of all runs.
    failed: hops that do not verify although a trusted key is named; strangers: the others that do not. replayed: None
    if nobody looked.
    """

    goal_id: str
    ended_ms: int
    outcome: str
    risk_tier: str
    usd_micro: int
    limit_micro: int
    tokens: int
    wall_ms: int
    carbon_micrograms: int
    hops: int
    verified: int
    failed: int
    strangers: int
    gates: list[GateOutcome]
    findings: list[Finding]
    tasks: list[TaskSummary]
    items: list[Item]
    handed_over: bool
    human_decisions: int = 0
    truncated: bool = False
    replayed: Replayed | None = None


def facts_of(
    goal_id: str, audit: HopAudit, account: Account | None, ended_ms: int, replayed: Replayed | None = None
) -> GoalFacts | None:
    """None if no verified hop says that the goal ended."""
    verified = [hop.envelope for hop in audit.hops if hop.verified and hop.envelope is not None]
    ends = [envelope.payload for envelope in verified if isinstance(envelope.payload, Completion)]
    if not ends:
        return None
    end = ends[0]
    broken = len(audit.broken_inside)
    unverified = len(audit.hops) - audit.verified
    return GoalFacts(
        goal_id=goal_id,
        ended_ms=ended_ms,
        outcome=end.outcome,
        risk_tier=_tier(verified),
        usd_micro=0 if account is None else account.used.usd_micro,
        limit_micro=0 if account is None else account.limit.usd_micro,
        tokens=0 if account is None else account.used.tokens,
        wall_ms=end.wall_ms,
        carbon_micrograms=int(Decimal(end.carbon_grams) * 1_000_000),
        hops=len(audit.hops),
        verified=audit.verified,
        failed=broken,
        strangers=unverified - broken,
        gates=end.gates,
        findings=end.findings,
        tasks=end.tasks,
        items=[] if account is None else items_of(account, audit.hops),
        handed_over=end.deliverable is not None,
        human_decisions=sum(envelope.sender.partition(".")[0] == "human" for envelope in verified),
        truncated=audit.truncated,
        replayed=replayed,
    )


def _tier(envelopes: list[Envelope]) -> str:
    """As the evaluator assessed it, else as the goal was taken in."""
    assessed = [envelope.payload.tier for envelope in envelopes if isinstance(envelope.payload, RiskAssessment)]
    return assessed[-1] if assessed else envelopes[0].risk_tier if envelopes else "unknown"
