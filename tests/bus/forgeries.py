"""What a role can do with its own key on its own route, and who refuses it: the receiver's gates, or the auditor's graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from interlock.agents.audit.hop_graph import audit_hops
from interlock.bus.authority import AUTHORITY
from interlock.bus.gates import Receiver, receiving_gates
from interlock.bus.hop import Hop
from interlock.bus.transport import MESSAGE_ID, Message
from interlock.envelope.amounts import Budget, timestamp
from interlock.envelope.canonical import canonical
from interlock.envelope.children import Draft, derive, origin_of
from interlock.envelope.model import Envelope
from interlock.envelope.replay import ReplayMemory
from interlock.envelope.signing import seal
from interlock.envelope.verification import Limits
from tests.envelope.samples import ENVELOPES, KEYS, NOW, PAYLOADS, TRUST, fixed_key

ROLES = tuple(KEYS)
INTAKE = ENVELOPES["intake"]
SEEN_MS = NOW + 1_000


class Known:
    trust = TRUST


def honest(role: str) -> Envelope:
    """What the role may send, as a child of a goal's first envelope."""
    intake = ("gateway", "orchestrator", "plan", INTAKE.envelope.payload)
    own = (one for kind, one in PAYLOADS.items() if one[0] == role and kind in AUTHORITY.get(one[:3], ()))
    sender, to, intent, payload = next(own, intake)
    draft = Draft(to=to, intent=intent, payload=payload, step="one")  # type: ignore[arg-type]
    origin = origin_of(INTAKE.envelope, INTAKE.digest)
    return derive(origin, draft, sender=sender, key_id=KEYS[role].key_id, now_ms=NOW + 5)


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
    return lambda role: [sealed_by(role, replace(honest(role), **changes))]


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
    allowed = type(honest(role).payload)
    return [
        sealed_by(role, replace(honest(role), payload=payload)) for payload in others if type(payload) is not allowed
    ]


def elsewhere(role: str) -> list[Message]:
    envelope = honest(role)
    to = envelope.subject.split(".")[3]
    subjects = [envelope.subject.replace(f".role.{to}.", f".role.{other}.") for other in ROLES if other != to]
    return [stored(envelope, seal(envelope, KEYS[role]).wire, subject) for subject in subjects]


def twice(role: str) -> list[Message]:
    wire = seal(honest(role), KEYS[role]).wire
    return [stored(honest(role), wire), stored(honest(role), wire, sequence=3)]


WEALTH = Budget(thinking_tokens=10**9, cost_usd="999", wall_ms=10**9, actions=10**6)
RIGHTS = replace(INTAKE.envelope.policy_context, capabilities=["*"])
ATTEMPTS: dict[str, Callable[[str], list[Message]]] = {
    "signs as any other role": as_others,
    "names another's key": with_others_key_id,
    "signs with a key of its own making": with_unknown_key,
    "sends what others send, a decision among it": others_payloads,
    "sends it to somebody else's inbox": elsewhere,
    "sends it a second time": twice,
    "gives a time to come": with_(created_at=timestamp(SEEN_MS + 60_000)),
    "lives longer than anything may": with_(ttl_ms=3_600_001),
    "extends the deadline": with_(ttl_ms=900_000),
    "widens the budget": with_(budget=WEALTH, thinking_budget=WEALTH.thinking_tokens),
    "widens the capabilities": with_(policy_context=RIGHTS),
    "names no parent": with_(parent_id=UNSET, parent_digest=UNSET),
    "names another parent's bytes": with_(parent_digest="0" * 64),
    "nothing but what it should": lambda role: [sealed_by(role, honest(role))],
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
        receiver = Receiver(message.subject.split(".")[3], Known(), Limits(), memory)
        reason = _by_receiver(receiver, message)
        yield f"receiver: {reason}" if reason else _by_auditor(message)


def _by_receiver(receiver: Receiver, message: Message) -> str:
    hop = Hop(message, SEEN_MS)
    for _, gate in receiving_gates(receiver):
        checked = gate(hop)
        if not checked.ok:
            return str(checked.reason)
    return ""


def _by_auditor(message: Message) -> str:
    first = Message(
        subject=INTAKE.envelope.subject,
        data=INTAKE.wire,
        headers={MESSAGE_ID: INTAKE.envelope.id},
        sequence=1,
        stored_ms=NOW + 1,
    )
    hop = audit_hops([first, message], TRUST).hops[1]
    return "" if hop.verified else f"auditor: {hop.reason}"
