"""What tests of the gateway hand in, and where they look for what came of it."""

from __future__ import annotations

import msgspec

from interlock.bus.deadletters import DeadLetter
from interlock.bus.transport import Message
from interlock.envelope.model import Envelope
from tests.agents.conftest import InProcess

TASKS = [{"id": "a", "skill": "doing-nothing"}]


def root_of(messages: list[Message]) -> Envelope:
    assert len(messages) == 1
    return msgspec.json.decode(messages[0].data, type=Envelope)


async def roots(house: InProcess, goal_id: str = "*") -> list[Message]:
    return await house.messages("HOPS", "role", "orchestrator", goal_id, "plan")


async def letters(house: InProcess, count: int) -> list[DeadLetter]:
    return [msgspec.json.decode(found.data, type=DeadLetter) for found in await house.until("DEAD", count, "dead", ">")]
