"""A process that hosts several agents takes its own seals for what they are: no other verdict, one check less."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from interlock.bus.clock import ManualClock
from interlock.bus.gates import Receiver, receiving_gates
from interlock.bus.hop import Hop
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.sender import Identity, Sender
from interlock.bus.streams import HOPS, declarations
from interlock.bus.transport import MESSAGE_ID, Message
from interlock.envelope import verification
from interlock.envelope.children import Draft, origin_of
from interlock.envelope.keys import SigningKey
from interlock.envelope.own_seals import OwnSeals
from interlock.envelope.payloads import Task
from interlock.envelope.replay import ReplayMemory
from interlock.envelope.signing import Sealed, seal
from interlock.envelope.trust import Trust
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import Limits
from tests.envelope.samples import ENVELOPES, KEYS, KINDS, NOW, TRUST, WORKSPACE, make_trust

BASE = ENVELOPES["task"]


class Known:
    def __init__(self, trust: Trust) -> None:
        self.trust = trust


def message(sealed: Sealed, data: bytes | None = None, subject: str = "") -> Message:
    envelope = sealed.envelope
    return Message(
        subject=subject or envelope.subject,
        data=sealed.wire if data is None else data,
        headers={MESSAGE_ID: envelope.id},
        sequence=7,
        stored_ms=NOW,
        delivered=1,
    )


def judged(found: Message, own: OwnSeals | None, trust: Trust = TRUST, now_ms: int = NOW + 10) -> tuple[str, str]:
    """(the gate that refused, its reason); of those up to the replay memory."""
    agent = found.subject.split(".")[3]
    hop = Hop(found, now_ms)
    for name, gate in receiving_gates(Receiver(agent, Known(trust), Limits(), ReplayMemory(), own=own))[:5]:
        checked = gate(hop)
        if not checked.ok:
            return name, str(checked.reason)
    return "", str(Reason.OK)


def knowing(*sealed: Sealed) -> OwnSeals:
    own = OwnSeals()
    for one in sealed:
        own.keep(one.digest)
    return own


def stranger(kind: str) -> Sealed:
    return seal(replace(ENVELOPES[kind].envelope, key_id=""), SigningKey(b"s" * 32))


CASES: dict[str, Callable[[], tuple[Message, Trust, int]]] = {
    "as it was sealed": lambda: (message(BASE), TRUST, NOW + 10),
    "its key is revoked": lambda: (message(BASE), make_trust(revoked_at="2025-01-01T00:00:00.000Z"), NOW + 10),
    "its key is no longer valid": lambda: (message(BASE), make_trust(not_after="2025-01-01T00:00:00.000Z"), NOW + 10),
    "on another subject": lambda: (message(BASE, subject=f"{BASE.envelope.subject}x"), TRUST, NOW + 10),
    "after its time": lambda: (message(BASE), TRUST, NOW + 10**9),
    "with a key that nobody knows": lambda: (message(stranger("task")), TRUST, NOW + 10),
    "with a key of another agent": lambda: (message(seal(BASE.envelope, KEYS["auditor"])), TRUST, NOW + 10),
}


@pytest.mark.parametrize("case", CASES)
def test_whether_the_key_may_sign_is_asked_all_the_same(case: str) -> None:
    found, trust, now_ms = CASES[case]()
    own = OwnSeals()
    own.keep(verification.decode(found.data).digest)
    assert judged(found, own, trust, now_ms) == judged(found, None, trust, now_ms)
    assert (judged(found, own, trust, now_ms)[0] == "") == (case == "as it was sealed")


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_changed_byte_is_a_strangers(kind: str, data: st.DataObject) -> None:
    sealed = ENVELOPES[kind]
    place = data.draw(st.integers(0, len(sealed.wire) - 1))
    letter = data.draw(st.integers(1, 255))
    bent = sealed.wire[:place] + bytes([sealed.wire[place] ^ letter]) + sealed.wire[place + 1 :]
    found = message(sealed, bent)
    assert judged(found, knowing(sealed)) == judged(found, None)
    assert judged(found, knowing(sealed))[0] in ("decode", "signature")


def test_own_words_are_not_checked_twice_and_a_strangers_are(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def never(key_id: str, *_: object) -> bool:
        asked.append(key_id)
        return False

    monkeypatch.setattr(verification, "is_signed_by", never)
    assert judged(message(BASE), knowing(BASE)) == ("", Reason.OK)
    assert asked == []
    other = ENVELOPES["intake"]
    assert judged(message(other), knowing(BASE)) == ("signature", Reason.BAD_SIGNATURE)
    assert judged(message(BASE), None) == ("signature", Reason.BAD_SIGNATURE)
    assert len(asked) == 2


def test_what_was_forgotten_is_checked() -> None:
    own = OwnSeals(capacity=2)
    for digest in ("a", "b", "a", "c"):
        own.keep(digest)
    assert [digest in own for digest in "abc"] == [True, False, True]
    assert len(own) == 2


@pytest.mark.anyio
async def test_a_sender_notes_what_it_sends_and_nothing_that_it_refuses() -> None:
    transport, own = MemoryTransport(ManualClock(NOW)), OwnSeals()
    await transport.declare(declarations((WORKSPACE,)))
    sender = Sender(transport, Identity("orchestrator", KEYS["orchestrator"]), Limits(max_bytes=20_000), own=own)
    parent = origin_of(ENVELOPES["intake"].envelope, ENVELOPES["intake"].digest)
    payload = Task(task_id="t", attempt=1, skill="noop", input={}, now=BASE.envelope.created_at)
    (child,) = await sender.send(parent, [Draft(to="executor", intent="act", payload=payload, step="1")], now_ms=NOW)
    stored = await transport.last(HOPS.name, child.envelope.subject)
    assert stored is not None
    assert judged(stored, own) == ("", Reason.OK)
    assert child.digest in own
    large = replace(payload, input={"x": "y" * 30_000})
    with pytest.raises(Exception, match="at most 20000"):
        await sender.send(parent, [Draft(to="executor", intent="act", payload=large, step="2")], now_ms=NOW)
    assert len(own) == 1
