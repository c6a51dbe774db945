"""A publish that the broker drops as a repeat: a success if it was our own, an error if somebody sits on our id."""

from __future__ import annotations

import pytest

from interlock.bus.clock import ManualClock
from interlock.bus.errors import IdTaken
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.sender import Identity, Sender
from interlock.bus.streams import declarations
from interlock.envelope.children import Draft, root
from interlock.envelope.ids import new_id
from interlock.envelope.keys import SigningKey
from interlock.envelope.model import PolicyContext
from interlock.envelope.payloads import Escalation
from interlock.envelope.signing import Sealed, seal

pytestmark = pytest.mark.anyio
NOW_MS = 1_800_000_000_000
KEY, OTHER = SigningKey(b"1" * 32), SigningKey(b"2" * 32)
GOAL = new_id(NOW_MS, b"0" * 10)


def escalation(step: str, to: str = "orchestrator", key: SigningKey = KEY) -> Sealed:
    envelope = root(
        Draft(to=to, intent="escalate", payload=Escalation(code="x", question=step), step=step),
        goal_id=GOAL,
        workspace="w",
        trace_id="0" * 31 + "1",
        sender="executor",
        key_id=key.key_id,
        now_ms=NOW_MS,
        ttl_ms=60_000,
        policy_context=PolicyContext(policy_bundle="0" * 64, contract_ref="", capabilities=[]),
        compliance_tags=[],
    )
    return seal(envelope, key)


@pytest.fixture
async def transport() -> MemoryTransport:
    transport = MemoryTransport(ManualClock(NOW_MS))
    await transport.declare(declarations(("w",)))
    return transport


@pytest.fixture
def sender(transport: MemoryTransport) -> Sender:
    return Sender(transport, Identity("executor", KEY))


async def test_our_own_repeat_is_a_success(sender: Sender) -> None:
    first = await sender.publish(escalation("a"))
    assert await sender.publish(escalation("a")) == first
    await sender.publish(escalation("b"))
    assert await sender.publish(escalation("a")) == first


@pytest.mark.parametrize(
    "squatter",
    [escalation("a", key=OTHER), escalation("other"), escalation("a", to="human")],
    ids=["key", "id", "subject"],
)
async def test_somebody_on_our_id(squatter: Sealed, sender: Sender, transport: MemoryTransport) -> None:
    ours = escalation("a")
    await transport.publish(squatter.envelope.subject, squatter.wire, message_id=ours.envelope.id)
    with pytest.raises(IdTaken):
        await sender.publish(ours)


async def test_garbage_on_our_id_elsewhere(sender: Sender, transport: MemoryTransport) -> None:
    ours = escalation("a")
    await sender.publish(escalation("before"))
    await transport.publish("interlock.w.role.human.x", b"junk", message_id=ours.envelope.id)
    with pytest.raises(IdTaken):
        await sender.publish(ours)
