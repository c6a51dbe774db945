"""The gateway when things come twice, late or not at all: a redelivery, a crash or a lost word never makes a second goal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest

from interlock.agents.intake.gateway import NEVER_ANSWERED
from interlock.agents.wiring import running
from interlock.bus.clock import ManualClock, SystemClock
from interlock.bus.errors import Unavailable
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.streams import GOALS, declarations
from interlock.bus.transport import MESSAGE_ID, Incoming, Message, OnIncoming, PubAck
from interlock.envelope.amounts import clock_ms, time_ms, timestamp
from interlock.envelope.ids import new_id
from interlock.envelope.model import Envelope
from interlock.envelope.payloads import Intake
from tests.agents.conftest import InProcess, Keys
from tests.agents.intake.intakes import TASKS, letters, root_of, roots

pytestmark = pytest.mark.anyio


def at_rest(house: InProcess) -> tuple[InProcess, ManualClock]:
    """The same house in memory, at the time of a clock that stands still."""
    clock = ManualClock(clock_ms())
    return InProcess(MemoryTransport(clock), house.workspace, house.keys, house.scratch), clock


@pytest.fixture
async def memory(tmp_path: Any) -> InProcess:
    house = InProcess(MemoryTransport(ManualClock(clock_ms())), "w", Keys("w"), tmp_path)
    await house.transport.declare(declarations(("w",)))
    return house


@asynccontextmanager
async def answers(house: InProcess) -> AsyncIterator[list[dict[str, Any]]]:
    told: list[dict[str, Any]] = []

    async def on_answer(message: Message) -> None:
        told.append(msgspec.json.decode(message.data))

    if not isinstance(house.transport, MemoryTransport):
        raise TypeError("only in memory")
    await house.transport.declare(declarations((house.workspace,)))
    async with house.transport.subscribe("answers", on_answer):
        yield told


async def submit(house: InProcess, goal: dict[str, Any], goal_id: str = "", reply: str = "answers") -> None:
    transport = house.transport
    assert isinstance(transport, MemoryTransport)
    headers = {MESSAGE_ID: goal_id} if goal_id else {}
    await transport.send(
        f"interlock.{house.workspace}.goal.submit", msgspec.json.encode(goal), headers=headers, reply=reply
    )
    with anyio.fail_after(10):
        await transport.settle()


async def test_a_stranger_cannot_take_the_id_of_another_goal(quiet_house: InProcess) -> None:
    """Beyond the broker's memory of message ids: the id is compared with what already stands."""
    house, clock = at_rest(quiet_house)
    first, second, goal_id = house.goal(TASKS), house.goal(TASKS, goal="something else"), new_id(clock.now_ms())
    async with answers(house) as told, running("gateway", house.parts("gateway")):
        for goal, code in ((first, "goalId"), (second, "errors"), (first, "goalId")):
            clock.advance(GOALS.dedupe_ms + 1)
            await submit(house, goal, goal_id)
            assert code in told.pop()
    begun = root_of(await roots(house)).payload
    assert isinstance(begun, Intake)
    assert begun.goal == first["goal"]


class Forgetful(MemoryTransport):
    """A connection that loses the first acknowledgement, as a crash between publishing and acknowledging does."""

    lost = 0

    def consume(self, consumer: Any, on_incoming: OnIncoming, *, concurrency: int) -> Any:
        async def hand_on(incoming: Incoming) -> None:
            await on_incoming(self._deaf(incoming) if self.lost == 0 else incoming)

        return super().consume(consumer, hand_on, concurrency=concurrency)

    def _deaf(self, incoming: Incoming) -> Any:
        self.lost += 1

        class Deaf:
            message = incoming.message

            async def ack(self) -> None:
                return

        return Deaf()


class Mortal(MemoryTransport):
    """The connection of gateways that die of a goal: it is delivered again and again."""

    def consume(self, consumer: Any, on_incoming: OnIncoming, *, concurrency: int) -> Any:
        async def hand_on(incoming: Incoming) -> None:
            if incoming.message.delivered > 8:
                await on_incoming(incoming)

        return super().consume(consumer, hand_on, concurrency=concurrency)


async def test_a_goal_of_which_gateways_die_is_a_dead_letter_in_the_end(memory: InProcess) -> None:
    """Found by a campaign: at its last delivery such a goal was left in the stream, and nobody was told."""
    clock = memory.transport.clock
    assert isinstance(clock, ManualClock)
    assert isinstance(memory.transport, MemoryTransport)
    mortal = Mortal(clock, memory.transport.broker)
    async with running("gateway", memory.parts("gateway", mortal)):
        await submit(memory, memory.goal(TASKS), reply="")
        for _ in range(10):
            clock.advance(11_000)
            await mortal.settle()
        (letter,) = await letters(memory, 1)
        assert NEVER_ANSWERED in letter.detail
    assert await roots(memory) == []


@pytest.mark.parametrize("chosen", [True, False])
async def test_a_crash_between_publish_and_acknowledgement_makes_no_second_goal(
    memory: InProcess, chosen: bool
) -> None:
    clock = memory.transport.clock
    assert isinstance(clock, ManualClock)
    assert isinstance(memory.transport, MemoryTransport)
    forgetful = Forgetful(clock, memory.transport.broker)
    async with answers(memory) as told, running("gateway", memory.parts("gateway", forgetful)):
        await submit(memory, memory.goal(TASKS), new_id(clock.now_ms()) if chosen else "")
        for _ in range(3):
            clock.advance(70_000)
            await forgetful.settle()
        assert forgetful.lost == 1
        assert len(told) == 1
        assert root_of(await roots(memory)).goal_id == told[0]["goalId"]
    assert await memory.messages("DEAD", "dead", ">") == []


async def test_a_goal_that_waited_for_a_gateway_gets_its_whole_time(memory: InProcess) -> None:
    clock = memory.transport.clock
    assert isinstance(clock, ManualClock)
    await submit(memory, memory.goal(TASKS), reply="")
    clock.advance(3_600_000)
    async with running("gateway", memory.parts("gateway")):
        await submit(memory, memory.goal(TASKS, goal="another"))
    times = {time_ms(msgspec.json.decode(found.data, type=Envelope).created_at) for found in await roots(memory)}
    assert times == {clock.now_ms()}


async def test_a_deadline_bounds_the_time_of_a_goal(memory: InProcess) -> None:
    clock = memory.transport.clock
    assert isinstance(clock, ManualClock)
    async with running("gateway", memory.parts("gateway")):
        await submit(memory, memory.goal(TASKS, deadline=timestamp(clock.now_ms() + 5_000)))
        assert root_of(await roots(memory)).ttl_ms == 65_000
        clock.advance(1)
        await submit(memory, memory.goal(TASKS, deadline=timestamp(clock.now_ms() + 3_600_000)))
        assert max(msgspec.json.decode(root.data)["ttlMs"] for root in await roots(memory)) == 3_600_000


class Full(MemoryTransport):
    """A connection whose broker takes no hops."""

    async def publish(self, subject: str, data: bytes, **more: Any) -> PubAck:
        if ".role." in subject:
            raise Unavailable("no stream leader")
        return await super().publish(subject, data, **more)


@pytest.mark.parametrize("reply", ["answers", ""])
async def test_what_cannot_be_published_is_told_at_the_last_delivery(memory: InProcess, reply: str) -> None:
    clock = memory.transport.clock
    assert isinstance(clock, ManualClock)
    assert isinstance(memory.transport, MemoryTransport)
    full = Full(clock, memory.transport.broker)
    async with answers(memory) as told, running("gateway", memory.parts("gateway", full)):
        await submit(memory, memory.goal(TASKS), reply=reply)
        assert told == []
        for _ in range(30):
            clock.advance(1_500)
            await full.settle()
        found = await letters(memory, 0 if reply else 1)
        if reply:
            assert "no stream leader" in told[0]["errors"][0]["message"]
            assert (len(told), found) == (1, [])
        else:
            assert [letter.delivered for letter in found] == [8]
            assert "no stream leader" in found[0].detail


class Slow(MemoryTransport):
    """A connection that takes its time over the first envelope of a goal: until all three have been asked for."""

    begun = 0

    async def publish(self, subject: str, data: bytes, **more: Any) -> PubAck:
        if subject.endswith(".plan"):
            self.begun += 1
            with anyio.fail_after(10):
                while await self.count("GOALS", "interlock.w.goal.submit") < 3:
                    await anyio.sleep(0.005)
        return await super().publish(subject, data, **more)


async def test_of_two_that_ask_for_one_goal_at_a_time_one_waits_for_the_other(tmp_path: Any) -> None:
    clock = SystemClock()
    slow = Slow(clock)
    house = InProcess(slow, "w", Keys("w"), tmp_path)
    await slow.declare(declarations(("w",)))
    goal, goal_id, told = msgspec.json.encode(house.goal(TASKS)), new_id(clock_ms()), list[dict[str, Any]]()

    async def ask(data: bytes) -> None:
        told.append(await house.submit(data, goal_id))

    async with running("gateway", house.parts("gateway")), anyio.create_task_group() as group:
        for blanks in range(3):  # other bytes, so that each wants an answer of its own
            group.start_soon(ask, goal + b" " * blanks)
            await house.until("GOALS", blanks + 1, "goal", "submit")
            await house.past_dedupe()
    assert [answer.get("goalId") for answer in told] == [goal_id] * 3
    assert slow.begun == 1


class Unconfirmed(MemoryTransport):
    """A connection over which the broker's word that it knows is lost, and the acknowledgement with it."""

    lost = 0

    def consume(self, consumer: Any, on_incoming: OnIncoming, *, concurrency: int) -> Any:
        async def hand_on(incoming: Incoming) -> None:
            await on_incoming(Doubtful(self, incoming) if self.lost < 2 else incoming)

        return super().consume(consumer, hand_on, concurrency=concurrency)


class Doubtful:
    def __init__(self, transport: Unconfirmed, incoming: Incoming) -> None:
        self.message = incoming.message
        self.retry = incoming.retry
        self.terminate = incoming.terminate
        self.progress = incoming.progress
        self._transport = transport

    async def ack(self) -> None:
        return

    async def ack_confirmed(self) -> None:
        self._transport.lost += 1
        raise Unavailable("no answer")


async def test_nobody_is_told_of_a_refusal_that_the_broker_has_not_heard_of(memory: InProcess) -> None:
    """Else the message comes again when there is room, and a goal runs that its submitter has given up."""
    clock = memory.transport.clock
    assert isinstance(clock, ManualClock)
    assert isinstance(memory.transport, MemoryTransport)
    unconfirmed = Unconfirmed(clock, memory.transport.broker)
    async with answers(memory) as told, running("gateway", memory.parts("gateway", unconfirmed)):
        await submit(memory, {"goal": "incomplete"})
        assert told == []
        for _ in range(10):
            clock.advance(11_000)
            await unconfirmed.settle()
        assert [list(answer) for answer in told] == [["errors"]]
        assert unconfirmed.lost == 2
