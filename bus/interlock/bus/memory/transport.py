"""The transport in memory (BUS-10): what JetStream does, in one process, at the time of an injected clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from interlock.bus.clock import Clock
from interlock.bus.errors import NotFound
from interlock.bus.memory.broker import MemoryBroker
from interlock.bus.streams import ConsumerSpec, Declarations
from interlock.bus.tasks import background
from interlock.bus.transport import (
    EXPECTED_SEQUENCE,
    MESSAGE_ID,
    NO_HEADERS,
    PACE,
    Message,
    ObjectInfo,
    OnIncoming,
    OnMessage,
    Pace,
    PubAck,
)

# A handler may take this many turns of the event loop between two dealings with the transport before `settle`
# believes that it waits for something else.
_QUIET_TURNS = 50


class MemoryTransport:
    """A connection to a MemoryBroker: to one of its own, or to another transport's (`broker=other.broker`).

    With a ManualClock nothing happens by itself when the clock is moved: `settle()` delivers what has become due, so
    that hours of waiting are tested in milliseconds. With any other clock the event loop's timers do.
    """

    def __init__(self, clock: Clock, broker: MemoryBroker | None = None) -> None:
        """clock: what `clock` answers; the broker keeps to the one that it was made with."""
        self._clock = clock
        self.broker = broker or MemoryBroker(clock)

    @property
    def lag_ms(self) -> int:
        return 0

    @property
    def clock(self) -> Clock:
        return self._clock

    async def settle(self) -> None:
        """Runs until nothing is due and nobody deals with the broker any more. What waits for a thread, a process or
        real time is not waited for.
        """
        quiet_turns = 0
        while quiet_turns < _QUIET_TURNS:
            before = self.broker.activity
            self.broker.timers.run_due()
            await asyncio.sleep(0)
            quiet_turns = quiet_turns + 1 if self.broker.activity == before else 0

    async def declare(self, declarations: Declarations, *, bind_only: bool = False) -> None:
        if bind_only:
            self.broker.check(declarations)
        else:
            self.broker.declare(declarations)

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        message_id: str = "",
        headers: Mapping[str, str] = NO_HEADERS,
        expected_sequence: int | None = None,
    ) -> PubAck:
        if headers or message_id or expected_sequence is not None:
            sent = dict(headers)
            if message_id:
                sent[MESSAGE_ID] = message_id
            if expected_sequence is not None:
                sent[EXPECTED_SEQUENCE] = str(expected_sequence)
            headers = sent
        return self.broker.publish(subject, data, headers)

    async def send(
        self, subject: str, data: bytes, *, headers: Mapping[str, str] = NO_HEADERS, reply: str = ""
    ) -> None:
        self.broker.send(subject, data, dict(headers), reply)

    async def request(
        self, subject: str, data: bytes, *, timeout_ms: int, headers: Mapping[str, str] = NO_HEADERS
    ) -> Message:
        return await self.broker.request(subject, data, timeout_ms, dict(headers))

    @asynccontextmanager
    async def subscribe(self, subject: str, on_message: OnMessage, *, group: str = "") -> AsyncIterator[None]:
        async with self.broker.subscribe(subject, on_message, group):
            yield

    @asynccontextmanager
    async def consume(
        self, consumer: ConsumerSpec, on_incoming: OnIncoming, *, concurrency: int
    ) -> AsyncIterator[None]:
        if self.broker.is_declared(consumer):
            async with self.broker.durable(consumer).working(on_incoming, concurrency):
                yield
            return
        async with background() as group:
            group.start_soon(self._work, consumer, on_incoming, concurrency)
            yield

    async def _work(self, consumer: ConsumerSpec, on_incoming: OnIncoming, concurrency: int) -> None:
        durable = await self.broker.declared(consumer)
        async with durable.working(on_incoming, concurrency):
            await asyncio.Event().wait()

    async def last(self, stream: str, subject: str) -> Message | None:
        return self.broker.stream(stream).last(subject)

    async def get(self, stream: str, sequence: int) -> Message | None:
        return self.broker.stream(stream).get(sequence)

    async def count(self, stream: str, subject: str) -> int:
        held = self.broker.stream(stream)
        return sum(1 for _ in held.scan([subject], 1, held.last_sequence))

    async def after(self, stream: str, subject: str, sequence: int) -> Message | None:
        core = self.broker.stream(stream)
        return next(core.scan([subject], sequence, core.last_sequence), None)

    async def purge(self, stream: str, subject: str, before: int) -> int:
        return self.broker.stream(stream).purge(subject, before)

    def read(
        self,
        stream: str,
        subjects: Sequence[str],
        *,
        from_sequence: int = 1,
        from_ms: int | None = None,
        follow: bool = False,
        pace: Pace = PACE,
    ) -> AsyncGenerator[Message, None]:
        try:
            end = None if follow else self.broker.stream(stream).last_sequence
        except NotFound:
            end = 0  # told when the reading begins, as by JetStream
        return self.broker.read(stream, subjects, from_sequence, from_ms, end)

    async def put_object(self, bucket: str, name: str, data: bytes) -> None:
        self.broker.objects.put(bucket, name, data)

    async def get_object(self, bucket: str, name: str) -> bytes:
        return self.broker.objects.get(bucket, name)

    async def list_objects(self, bucket: str) -> list[ObjectInfo]:
        return self.broker.objects.list(bucket)
