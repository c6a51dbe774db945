"""What a replica that is behind does not give yet is not taken for gone; what is not there is told after a while."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from interlock.bus.catching_up import caught_up
from interlock.bus.clock import SystemClock
from interlock.bus.errors import IdTaken, NotFound
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.sender import Identity, Sender
from interlock.bus.streams import declarations
from interlock.bus.transport import Message
from tests.bus.test_sender_ids import KEY, escalation

pytestmark = pytest.mark.anyio


class Behind(MemoryTransport):
    """A cluster whose replica knows nothing of the last subjects for so many reads."""

    def __init__(self, reads: int, lag_ms: int = 2_000) -> None:
        super().__init__(SystemClock())
        self.left = reads
        self._lag_ms = lag_ms

    @property
    def lag_ms(self) -> int:
        return self._lag_ms

    async def last(self, stream: str, subject: str) -> Message | None:
        self.left -= 1
        return None if self.left >= 0 else await super().last(stream, subject)


async def behind(reads: int, **more: Any) -> Behind:
    transport = Behind(reads, **more)
    await transport.declare(declarations(("w",)))
    return transport


async def test_a_repeat_is_our_own_although_the_replica_has_not_heard_of_it() -> None:
    """Found by a campaign: such a repeat ended its goal as failed."""
    transport = await behind(3)
    sender = Sender(transport, Identity("executor", KEY))
    first = await sender.publish(escalation("a"))
    assert await sender.publish(escalation("a")) == first
    assert transport.left < 0


async def test_what_never_comes_is_somebody_elses() -> None:
    transport = await behind(10**6, lag_ms=60)
    sender = Sender(transport, Identity("executor", KEY))
    await sender.publish(escalation("a"))
    with pytest.raises(IdTaken):
        await sender.publish(escalation("a"))


async def test_an_object_is_waited_for() -> None:
    transport = await behind(0)
    await transport.put_object("artifacts", "a", b"content")
    transport.left = 3
    assert await transport.get_object("artifacts", "a") == b"content"


async def test_a_single_broker_is_asked_once() -> None:
    transport, asked = await behind(10**6, lag_ms=0), 0

    async def look() -> Message | None:
        nonlocal asked
        asked += 1
        return await transport.last("HOPS", "interlock.w.role.human.x.escalate")

    with anyio.fail_after(1):
        assert await caught_up(transport, look, bool) is None
    assert asked == 1
    with pytest.raises(NotFound):
        await transport.get_object("artifacts", "nothing")
