"""The input document of every policy, built from what the gates have verified (docs/policies.md). Pure.

It varies as little as the rules allow, because decisions are memoised by it: costs, rates and ages come in steps, and no
clock or id is in it. What rules ask for most stands first: the engine looks for a field from the front.
"""

from __future__ import annotations

import types
from typing import Any, Union, get_args, get_origin, get_type_hints

from msgspec import Struct, field, structs

from interlock.bus.authority import payload_type
from interlock.bus.hop import Hop
from interlock.envelope.amounts import micro_usd
from interlock.envelope.ids import role_of
from interlock.envelope.trust import Trust

_MINUTE_MS = 60_000
_USD = 1_000_000


class _Facts(Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class HopFacts(_Facts, frozen=True, kw_only=True):
    """What travels. sender, from_role: who signed it; confidence: parts per thousand; tags: as signed."""

    payload: str
    risk_tier: str
    tags: list[str]
    to: list[str]
    confidence: int
    sender: str = field(name="from")
    from_role: str
    intent: str


class AgentFacts(_Facts, frozen=True, kw_only=True):
    """An agent as the trust store has it. trust_level: 0 to 100."""

    trust_level: int
    revoked: bool
    capabilities: list[str]


class TaskFacts(_Facts, frozen=True, kw_only=True):
    """What a task would do. effects: none or external; operation: task.run or task.release; target: the host or
    resource it acts on, empty if it names none; audited: whether the audit report is among what is released.
    """

    effects: str = "none"
    operation: str = "task.run"
    network: bool = False
    capability: str
    skill: str
    target: str = ""
    audited: bool = False


class BudgetFacts(_Facts, frozen=True, kw_only=True):
    """within_grant: the estimate fits the envelope's own grant. cost_usd_at_most: the grant rounded up to 0, 1, 10, 100,
    1000 … USD.
    """

    within_grant: bool
    cost_usd_at_most: int


class RateFacts(_Facts, frozen=True, kw_only=True):
    """Hops of the sender and of the workspace in the last minute, rounded down to one significant digit; below a hundred
    none.
    """

    agent_per_minute: int = 0
    workspace_per_minute: int = 0


class ApprovalFacts(_Facts, frozen=True, kw_only=True):
    """A verified human decision for exactly this action. age_ms: rounded up to whole minutes."""

    by: str
    age_ms: int
    digest_matches: bool


class GoalFacts(_Facts, frozen=True, kw_only=True):
    capabilities: list[str]


class ModelFacts(_Facts, frozen=True, kw_only=True):
    """A model that would be asked. hosting: local or remote."""

    name: str
    hosting: str


class Facts(_Facts, frozen=True, kw_only=True):
    """The input. agent: the sender. performer: the receiver, who would do the work. task, approval, model: null where
    there is none.
    """

    hop: HopFacts
    task: TaskFacts | None = None
    agent: AgentFacts
    performer: AgentFacts
    rates: RateFacts = RateFacts()
    approval: ApprovalFacts | None = None
    model: ModelFacts | None = None
    budget: BudgetFacts
    goal: GoalFacts


NO_RATES = RateFacts()
NOBODY = AgentFacts(capabilities=[], trust_level=0, revoked=True)


def facts_of(
    hop: Hop,
    agent: AgentFacts,
    performer: AgentFacts,
    *,
    task: TaskFacts | None = None,
    approval: ApprovalFacts | None = None,
    rates: RateFacts = NO_RATES,
) -> Facts:
    """The facts of a decoded hop."""
    envelope = hop.envelope
    grant, estimate = envelope.budget.amount, envelope.cost_estimate
    cost = micro_usd(estimate.estimated_cost_usd)
    return Facts(
        hop=HopFacts(
            sender=envelope.sender,
            from_role=role_of(envelope.sender),
            to=envelope.recipients,
            intent=envelope.intent,
            payload=payload_type(envelope),
            risk_tier=envelope.risk_tier,
            tags=envelope.compliance_tags,
            confidence=round(envelope.confidence_score * 1000),
        ),
        agent=agent,
        performer=performer,
        budget=BudgetFacts(
            within_grant=cost <= grant.usd_micro and estimate.tokens <= grant.tokens,
            cost_usd_at_most=usd_step(grant.usd_micro),
        ),
        goal=GoalFacts(capabilities=envelope.policy_context.capabilities),
        rates=rates,
        task=task,
        approval=approval,
    )


def sender_facts(trust: Trust, key_id: str, now_ms: int) -> AgentFacts:
    """The signer by its key; nobody if the store does not know it."""
    key = trust.find(key_id)
    if key is None:
        return NOBODY
    return AgentFacts(capabilities=list(key.capabilities), trust_level=key.trust_level, revoked=key.is_revoked(now_ms))


def performer_facts(trust: Trust, agent: str) -> AgentFacts:
    """The receiver by its name, or its role's record; nobody if the store does not know it."""
    records = {record.agent: record for record in trust.store.agents}
    record = records.get(agent) or records.get(role_of(agent))
    if record is None:
        return NOBODY
    return AgentFacts(capabilities=record.capabilities, trust_level=record.trust_level, revoked=False)


def usd_step(usd_micro: int) -> int:
    """0, or the smallest power of ten in USD that is not below it."""
    if usd_micro <= 0:
        return 0
    step = 1
    while step * _USD < usd_micro:
        step *= 10
    return step


def rate_step(count: int) -> int:
    """Rounded down to one significant digit, 0 below 100: exact against limits that are such numbers."""
    if count < 100:
        return 0
    unit: int = 10 ** (len(str(count)) - 1)
    return count // unit * unit


def age_step(age_ms: int) -> int:
    """Rounded up to whole minutes, so that an approval never looks younger than it is."""
    return -(-age_ms // _MINUTE_MS) * _MINUTE_MS


def _paths(kind: Any, before: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    hints = get_type_hints(kind)
    for entry in structs.fields(kind):
        path = (*before, entry.encode_name)
        found.add(path)
        kinds = get_args(hints[entry.name]) if get_origin(hints[entry.name]) in (Union, types.UnionType) else ()
        for inner in kinds or (hints[entry.name],):
            if isinstance(inner, type) and issubclass(inner, Struct):
                found |= _paths(inner, path)
    return found


# Every field a policy may name, as paths: ("hop", "riskTier").
INPUT_PATHS = frozenset(_paths(Facts))
