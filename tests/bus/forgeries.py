"""What a role can do with its own key on each of its own routes, and who refuses it: the receiver, or the auditor's graph.

A receiver is its gates, under a contract; the orchestrator has the goal's intake besides, the executor wants a token, and a
human's command line has the whole goal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from interlock.agents.audit.hop_graph import audit_hops
from interlock.agents.execution.token_use import use_of
from interlock.agents.goal.resources import task_resources
from interlock.bus.authority import AUTHORITY, GRANTING
from interlock.bus.gates import Receiver, receiving_gates
from interlock.bus.hop import Hop
from interlock.bus.transport import MESSAGE_ID, Message
from interlock.envelope.amounts import ZERO, Amount, Budget, timestamp
from interlock.envelope.canonical import canonical
from interlock.envelope.capability_token import Proven, check_token, first_grant, narrowed
from interlock.envelope.children import ROOT_STEP, Draft, derive, exceeds, origin_of
from interlock.envelope.contract import Quotas
from interlock.envelope.goal_grant import needs_grant
from interlock.envelope.ids import derived_id, span_of
from interlock.envelope.model import Attestation, Envelope, PolicyContext
from interlock.envelope.payloads import HumanDecision, Task
from interlock.envelope.replay import ReplayMemory
from interlock.envelope.signing import Sealed, seal
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import Limits, decode
from tests.envelope.contracts import FIRST as CONTRACT
from tests.envelope.contracts import chain_of
from tests.envelope.samples import GOAL, KEYS, NOW, PAYLOADS, TRUST, WORKSPACE, fixed_key, make_root

ROLES = tuple(KEYS)
SEEN_MS = NOW + 1_000
LIMITS = Budget(thinking_tokens=8000, cost_usd="1.5", wall_ms=60_000, actions=9)
TERMS = replace(
    CONTRACT,
    issued_at=timestamp(NOW - 2_000_000),
    quotas=Quotas(per_goal=LIMITS, per_day=LIMITS),
)
CHAIN = chain_of(TERMS)
CONTEXT = PolicyContext(
    policy_bundle=TERMS.policy_bundle_checksum,
    contract_ref=CHAIN.head.ref,
    capabilities=CHAIN.head.goal_capabilities,
)
GIVEN = first_grant(
    "orchestrator",
    GOAL,
    CONTEXT.capabilities,
    given_by="gateway",
    key=KEYS["gateway"],
    now_ms=NOW,
    life_ms=600_000,
    budget=LIMITS,
    contract_ref=CONTEXT.contract_ref,
)


def intake() -> Sealed:
    begun = make_root(policy_context=CONTEXT).envelope
    ids = derived_id(WORKSPACE, GOAL, "gateway", ROOT_STEP)
    return seal(replace(begun, id=ids, span_id=span_of(ids), attestations=[GIVEN]), KEYS["gateway"])


INTAKE = intake()


class Known:
    trust = TRUST


class InForce:
    chain = CHAIN


def routes(role: str) -> Iterator[Envelope]:
    """One of everything that the role may send, as a child of a goal's first envelope; what begins the goal of a gateway."""
    if role == "gateway":
        yield INTAKE.envelope
    origin = origin_of(INTAKE.envelope, INTAKE.digest)
    for kind, (sender, to, intent, payload) in PAYLOADS.items():
        if sender != role or kind not in AUTHORITY.get((sender, to, intent), ()):
            continue
        granting = kind in GRANTING
        draft = Draft(to=to, intent=intent, payload=payload, step=kind, budget=Amount(1, 1, 1, 1) if granting else ZERO)
        child = derive(origin, draft, sender=role, key_id=KEYS[role].key_id, now_ms=NOW + 5)
        token = [_token(child, payload)] if isinstance(payload, Task) else []
        yield replace(child, attestations=[GIVEN, *token] if token or needs_grant(to) else [])


def _token(child: Envelope, task: Task) -> Attestation:
    return narrowed(
        GIVEN,
        given_by="orchestrator",
        holder="executor",
        capabilities=CONTEXT.capabilities,
        resources=task_resources(task),
        envelope=child.id,
        key=KEYS["orchestrator"],
        now_ms=NOW + 5,
        until_ms=NOW + 600_000,
    )


def honest(role: str) -> Envelope:
    """The first of what the role may send."""
    return next(routes(role))


def sealed_by(role: str, envelope: Envelope) -> Message:
    return stored(envelope, seal(envelope, KEYS[role]).wire)


def stored(envelope: Envelope, wire: bytes, subject: str = "", sequence: int = 2) -> Message:
    return Message(
        subject=subject or envelope.subject,
        data=wire,
        headers={MESSAGE_ID: envelope.id},
        sequence=sequence,
        stored_ms=SEEN_MS,
    )


def with_(**changes: Any) -> Callable[[str], list[Message]]:
    return lambda role: [sealed_by(role, replace(route, **changes)) for route in routes(role)]


def as_others(role: str) -> list[Message]:
    return [sealed_by(role, replace(honest(role), sender=other)) for other in ROLES if other != role]


def with_others_key_id(role: str) -> list[Message]:
    return [
        stored(honest(role), canonical(replace(claimed, sender=other, key_id=KEYS[other].key_id)))
        for other in ROLES
        if other != role and (claimed := seal(honest(role), KEYS[role]).envelope)
    ]


def with_unknown_key(role: str) -> list[Message]:
    return [stored(honest(role), seal(honest(role), fixed_key("stranger")).wire)]


def others_payloads(role: str) -> list[Message]:
    """Among them, for all but the human: the decision on what it asked for itself."""
    others = [entry[3] for entry in PAYLOADS.values() if entry[0] != role]
    return [
        sealed_by(role, replace(route, payload=payload))
        for route in routes(role)
        for payload in others
        if type(payload) not in _sayable(role, route)
    ]


def _sayable(role: str, route: Envelope) -> set[type]:
    kinds = AUTHORITY[role, route.recipients[0], route.intent]
    return {type(entry[3]) for kind, entry in PAYLOADS.items() if kind in kinds} | {type(route.payload)}


def own_decision(role: str) -> list[Message]:
    """The decision that the role would like to have, on the way that decisions come."""
    (real,) = [route for route in routes("human") if isinstance(route.payload, HumanDecision)]
    claimed = replace(real, sender=role, key_id=KEYS[role].key_id)
    as_human = replace(real, key_id=KEYS[role].key_id)
    return [sealed_by(role, claimed), sealed_by(role, as_human)] if role != "human" else []


def elsewhere(role: str) -> list[Message]:
    envelope = honest(role)
    to = envelope.subject.split(".")[3]
    subjects = [envelope.subject.replace(f".role.{to}.", f".role.{other}.") for other in ROLES if other != to]
    return [stored(envelope, seal(envelope, KEYS[role]).wire, subject) for subject in subjects]


def twice(role: str) -> list[Message]:
    wire = seal(honest(role), KEYS[role]).wire
    return [stored(honest(role), wire), stored(honest(role), wire, sequence=3)]


def another_intake(role: str) -> list[Message]:
    """A goal begun by who is no gateway."""
    return [sealed_by(role, replace(INTAKE.envelope, sender=role, key_id=KEYS[role].key_id))]


WEALTH = Budget(thinking_tokens=10**9, cost_usd="999", wall_ms=10**9, actions=10**6)
RIGHTS = replace(CONTEXT, capabilities=["*"])
ATTEMPTS: dict[str, Callable[[str], list[Message]]] = {
    "signs as any other role": as_others,
    "names another's key": with_others_key_id,
    "signs with a key of its own making": with_unknown_key,
    "sends what others send, a decision among it": others_payloads,
    "sends it to somebody else's inbox": elsewhere,
    "sends it a second time": twice,
    "gives a time to come": with_(created_at=timestamp(SEEN_MS + 60_000)),
    "lives longer than anything may": with_(ttl_ms=3_600_001),
    "approves its own request": own_decision,
    "extends the deadline": with_(ttl_ms=900_000),
    "widens the budget": with_(budget=WEALTH, thinking_budget=WEALTH.thinking_tokens),
    "widens the capabilities": with_(policy_context=RIGHTS),
    "begins a goal of its own": another_intake,
    "names no parent": with_(parent_id=UNSET, parent_digest=UNSET),
    "names another parent's bytes": with_(parent_digest="0" * 64),
    "nothing but what it should": with_(),
}


# What is a role's own to do: a gateway begins goals and says how long they last; of a human's decision see docs/approvals.md.
ITS_OWN = {
    ("gateway", "extends the deadline"),
    ("gateway", "begins a goal of its own"),
    ("gateway", "names no parent"),
    ("human", "approves its own request"),
}


def refusals(role: str, attempt: str) -> set[str]:
    """`receiver: reason` or `auditor: reason` of each message of the attempt; empty for one that is let through. Of a
    repeat, the first is right.
    """
    messages = ATTEMPTS[attempt](role)
    return set(list(_judged(role, messages))[1 if attempt == "sends it a second time" else 0 :])


def _judged(role: str, messages: list[Message]) -> Iterator[str]:
    memory = ReplayMemory()
    for message in messages:
        agent = message.subject.split(".")[3]
        proven = Proven() if needs_grant(agent) else None
        receiver = Receiver(agent, Known(), Limits(), memory, InForce(), proven=proven)
        reason = _by_receiver(receiver, message)
        yield f"receiver: {reason}" if reason else _by_auditor(message)


def _by_receiver(receiver: Receiver, message: Message) -> str:
    hop = Hop(message, SEEN_MS)
    for _, gate in receiving_gates(receiver):
        checked = gate(hop)
        if not checked.ok:
            return str(checked.reason)
    return _by_holder(receiver.agent, hop)


def _by_holder(agent: str, hop: Hop) -> str:
    """What the receiver holds against the hop when its gates have let it in: what these roles ask first."""
    envelope, begun = hop.envelope, origin_of(INTAKE.envelope, INTAKE.digest)
    if isinstance(envelope.payload, Task):
        verdict = check_token(envelope.attestations, use_of(hop, envelope.payload, "executor", "skill:s"), TRUST)
        return "" if verdict.allowed else verdict.grounds[0].code
    holds_intake = agent in ("orchestrator", "human") and envelope.parent_id is not UNSET
    return str(Reason.BAD_PARENT) if holds_intake and exceeds(hop.origin, begun) else ""


def _is_root(message: Message) -> bool:
    envelope = decode(message.data).envelope
    return envelope is not None and envelope.parent_id is UNSET


def _by_auditor(message: Message) -> str:
    first = Message(
        subject=INTAKE.envelope.subject,
        data=INTAKE.wire,
        headers={MESSAGE_ID: INTAKE.envelope.id},
        sequence=1,
        stored_ms=NOW + 1,
    )
    before = [] if _is_root(message) else [first]
    hop = audit_hops([*before, message], TRUST).hops[-1]
    return "" if hop.verified else f"auditor: {hop.reason}"
