"""What could not be journaled has not happened: nobody who waited behind it goes on from there."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import anyio
import msgspec
import pytest

from interlock.agents.wiring import running
from interlock.bus.clock import SystemClock
from interlock.bus.errors import Unavailable
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.streams import declarations
from interlock.bus.transport import PubAck
from tests.agents.conftest import ROLES, InProcess, Keys

pytestmark = pytest.mark.anyio


class Stumbling(MemoryTransport):
    """A connection that loses the goal's first record of a verification, when the next one waits behind it."""

    lost = False

    async def publish(self, subject: str, data: bytes, **more: Any) -> PubAck:
        if ".journal.goal." in subject and not self.lost and msgspec.json.decode(data)["event"] == "verified":
            self.lost = True
            await self.next_is_there()
            raise Unavailable("the broker did not acknowledge in time")
        return await super().publish(subject, data, **more)

    async def next_is_there(self) -> None:
        """Until both tasks' verifications are in the inbox: the second waits for the goal, behind the first."""
        with anyio.fail_after(10):
            while await self.count("HOPS", "interlock.w.role.orchestrator.*.observe") < 1 + 2:
                await anyio.sleep(0.005)


async def test_a_goal_ends_although_a_record_of_its_journal_was_lost_before_the_next(tmp_path: Any) -> None:
    """Found by campaigns of brokers and partitions: the second event was decided upon the first, the audit was asked for,
    its answer came before the first was journaled after all, meant nothing to the goal, and never came again.
    """
    house = InProcess(MemoryTransport(SystemClock()), "w", Keys("w"), tmp_path)
    assert isinstance(house.transport, MemoryTransport)
    await house.transport.declare(declarations(("w",)))
    stumbling = Stumbling(SystemClock(), house.transport.broker)
    async with AsyncExitStack() as stack:
        for role in ROLES:
            transport = stumbling if role == "orchestrator" else house.transport
            await stack.enter_async_context(running(role, house.parts(role, transport)))
        tasks = [{"id": f"t{number}", "skill": "doing-nothing"} for number in range(2)]
        with anyio.fail_after(20):
            status = await house.run(house.goal(tasks))
        assert (status.outcome, stumbling.lost) == ("released", True)
        records = await house.messages("JOURNAL", "journal", "goal", ">")
        told = [msgspec.json.decode(record.data)["event"] for record in records]
        assert told.count("verified") == 2
        assert len(told) == len({record.data for record in records})


class Blind(MemoryTransport):
    """A connection on which a goal's journal cannot be read the first few times."""

    left = 3

    def read(self, stream: str, subjects: Any, **more: Any) -> Any:
        if stream == "JOURNAL" and self.left:
            self.left -= 1
            raise Unavailable("the broker did not answer a read in time")
        return super().read(stream, subjects, **more)


async def test_a_journal_that_could_not_be_read_is_not_taken_for_an_empty_one(tmp_path: Any) -> None:
    """Found by a campaign: whatever came to such a goal was put off as too early, until it was given up."""
    house = InProcess(MemoryTransport(SystemClock()), "w", Keys("w"), tmp_path)
    assert isinstance(house.transport, MemoryTransport)
    await house.transport.declare(declarations(("w",)))
    blind = Blind(SystemClock(), house.transport.broker)
    with anyio.fail_after(30):
        async with running("gateway", house.parts("gateway")), running("orchestrator", house.parts("orchestrator")):
            goal_id = (await house.submit(house.goal([{"id": "a", "skill": "doing-nothing"}])))["goalId"]
            await house.until("JOURNAL", 1, "journal", "goal", ">")
        async with AsyncExitStack() as stack:
            for role in ROLES:
                transport = blind if role == "orchestrator" else house.transport
                await stack.enter_async_context(running(role, house.parts(role, transport)))
            status = await house.ended(goal_id)
    assert (status.outcome, blind.left) == ("released", 0)
