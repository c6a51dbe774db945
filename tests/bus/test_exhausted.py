"""What the broker gives up becomes a dead letter: heard or not, once, under its own role."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import anyio
import msgspec
import pytest
from msgspec.structs import replace

from interlock.bus.clock import SystemClock
from interlock.bus.deadletters import DeadLetter
from interlock.bus.exhausted import AdvisoryWatch
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.server.embedded import EmbeddedServer
from interlock.bus.streams import (
    ADVISORIES,
    DEAD,
    GAVE_UP,
    STREAMS,
    TERMINATED,
    ConsumerSpec,
    Declarations,
    advisories_of,
    consumers_of,
)
from interlock.bus.transport import Incoming, Transport
from interlock.envelope.subjects import workspace_subject

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", pytest.param("jetstream", marks=pytest.mark.nats)])
async def transport(request: pytest.FixtureRequest) -> AsyncIterator[Transport]:
    if request.param == "memory":
        yield MemoryTransport(SystemClock())
        return
    async with JetStreamTransport.connect(request.getfixturevalue("nats_server").url, name="exhausted") as connected:
        yield connected


class Place:
    """A workspace whose broker gives up soon."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.workspace = f"w{uuid.uuid4().hex[:12]}"
        self.deliveries = 0

    async def declare(self) -> None:
        hasty = tuple(replace(spec, max_deliver=2, ack_wait_ms=60) for spec in consumers_of(self.workspace)[:-1])
        consumers = (*hasty, advisories_of(self.workspace))
        await self.transport.declare(Declarations(streams=STREAMS, consumers=consumers))

    def consumer(self, name: str) -> ConsumerSpec:
        return next(spec for spec in consumers_of(self.workspace) if spec.name == f"{name}-{self.workspace}")

    async def exhaust(self, name: str, subject: str) -> None:
        """A message that nobody lives to answer."""

        async def die(incoming: Incoming) -> None:
            self.deliveries += 1

        advised = workspace_subject(self.workspace, *subject.split("."))
        await self.transport.send(advised, b"poison") if name == "gateway" else await self.transport.publish(
            advised, b"poison"
        )
        spec, before = self.consumer(name), await self.advisories()
        async with self.transport.consume(spec, die, concurrency=4):
            with anyio.fail_after(10):
                while await self.advisories() == before:
                    await anyio.sleep(0.01)

    async def advisories(self) -> int:
        return sum(
            [await self.transport.count(ADVISORIES.name, kind) for kind in advisories_of(self.workspace).subjects]
        )

    async def letters(self, count: int) -> list[DeadLetter]:
        with anyio.fail_after(10):
            while True:
                subject = workspace_subject(self.workspace, "dead", ">")
                found = [letter async for letter in self.transport.read(DEAD.name, [subject])]
                if len(found) >= count:
                    letters = [msgspec.json.decode(letter.data, type=DeadLetter) for letter in found]
                    told = [letter.subject.split(".")[3:] for letter in found]
                    assert told == [[letter.role, letter.reason] for letter in letters]
                    return letters
                await anyio.sleep(0.01)


@pytest.fixture
async def place(transport: Transport) -> Place:
    made = Place(transport)
    await made.declare()
    return made


@pytest.mark.parametrize(
    ("consumer", "subject", "role"),
    [
        ("executor", "role.executor.g.act", "executor"),
        ("auditor", "role.auditor.g.observe", "auditor"),
        ("gateway", "goal.submit", "gateway"),
        ("timers", "timer.due.approval.g", "orchestrator"),
    ],
)
async def test_what_used_up_its_deliveries_is_a_dead_letter(
    place: Place, consumer: str, subject: str, role: str
) -> None:
    async with AdvisoryWatch(place.transport, place.workspace).running():
        await place.exhaust(consumer, subject)
        (letter,) = await place.letters(1)
    assert (letter.role, letter.reason, letter.original) == (role, "max_deliveries", b"poison")
    assert letter.stream == place.consumer(consumer).stream
    assert letter.subject == workspace_subject(place.workspace, *subject.split("."))
    assert letter.delivered == place.deliveries == 2
    stored = await place.transport.get(letter.stream, letter.sequence)
    assert stored is not None and stored.data == b"poison"


async def test_what_was_given_up_while_nobody_listened_is_made_up_for_once(place: Place) -> None:
    await place.exhaust("executor", "role.executor.g.act")
    await place.exhaust("evaluator", "role.evaluator.g.review")
    for _ in range(2):  # the second has nothing left to do
        async with AdvisoryWatch(place.transport, place.workspace).running():
            letters = await place.letters(2)
    assert sorted(letter.role for letter in letters) == ["evaluator", "executor"]


async def test_two_watches_bury_once(place: Place) -> None:
    async with (
        AdvisoryWatch(place.transport, place.workspace).running(),
        AdvisoryWatch(place.transport, place.workspace).running(),
    ):
        for _ in range(3):
            await place.exhaust("executor", "role.executor.g.act")
        letters = await place.letters(3)
    assert len({letter.sequence for letter in letters}) == 3


@pytest.mark.nats
async def test_only_a_termination_that_is_not_ours_is_buried(nats_server: EmbeddedServer) -> None:
    async with JetStreamTransport.connect(nats_server.url, name="terminated") as transport:
        place = Place(transport)
        await place.declare()
        reasons = iter(["expired", "because", ""])

        async def end(incoming: Incoming) -> None:
            await incoming.terminate(next(reasons))

        async with (
            transport.consume(place.consumer("executor"), end, concurrency=1),
            AdvisoryWatch(transport, place.workspace).running(),
        ):
            for _ in range(3):
                await transport.publish(workspace_subject(place.workspace, "role", "executor", "g", "act"), b"poison")
            letters = await place.letters(2)
    assert [letter.reason for letter in letters] == ["terminated"] * 2
    assert sorted(letter.detail.rpartition(": ")[2] for letter in letters) == ["because", "no reason given"]


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"null",
        b"\xff",
        b'{"type":"io.nats.jetstream.advisory.v1.max_deliver"}',
        b'{"type":"x","stream":"HOPS","consumer":"executor-w","stream_seq":"1"}',
        b'{"x":' + b"[" * 20_000,
    ],
)
async def test_garbage_among_the_advisories_harms_nobody(place: Place, bad: bytes) -> None:
    consumer = place.consumer("executor")
    for kind in (GAVE_UP, TERMINATED):
        await place.transport.send(f"{kind}.{consumer.stream}.{consumer.name}", bad)
    async with AdvisoryWatch(place.transport, place.workspace).running():
        await place.exhaust("executor", "role.executor.g.act")
        assert len(await place.letters(1)) == 1


async def test_a_message_that_is_gone_is_told_all_the_same(place: Place) -> None:
    consumer = place.consumer("executor")
    told = {
        "type": "io.nats.jetstream.advisory.v1.max_deliver",
        "stream": consumer.stream,
        "consumer": consumer.name,
        "stream_seq": 1 << 40,
        "deliveries": 9,
    }
    await place.transport.send(f"{GAVE_UP}.{consumer.stream}.{consumer.name}", msgspec.json.encode(told))
    async with AdvisoryWatch(place.transport, place.workspace).running():
        (letter,) = await place.letters(1)
    assert (letter.sequence, letter.original, letter.subject) == (1 << 40, b"", "")
    assert letter.detail.endswith("no longer in the stream")
