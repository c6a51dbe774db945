"""Delivery in memory: a durable shares its messages among its workers, a subscription hears plain messages in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup

from interlock.bus.clock import Clock
from interlock.bus.memory.consumer import Exhausted, MemoryConsumer
from interlock.bus.streams import ConsumerSpec
from interlock.bus.tasks import background
from interlock.bus.timers import Timers
from interlock.bus.transport import Message, OnIncoming, OnMessage


class MemoryIncoming:
    """A delivery with its answers (the Incoming of the transport contract)."""

    __slots__ = ("_durable", "message")

    def __init__(self, durable: Durable, message: Message) -> None:
        self._durable = durable
        self.message = message

    async def ack(self) -> None:
        self._durable.settle(self.message.sequence)

    async def ack_confirmed(self) -> None:
        await self.ack()

    async def retry(self, delay_ms: int) -> None:
        self._durable.retry(self.message.sequence, delay_ms)

    async def terminate(self, reason: str) -> None:
        self._durable.settle(self.message.sequence)

    async def progress(self) -> None:
        self._durable.progress(self.message.sequence)


class _Worker:
    """One consume context: hands messages to its handler, `concurrency` at a time at most."""

    def __init__(self, group: TaskGroup, on_incoming: OnIncoming, concurrency: int, freed: Callable[[], None]) -> None:
        self._group = group
        self._on_incoming = on_incoming
        self._concurrency = concurrency
        self._freed = freed
        self.running = 0

    @property
    def is_free(self) -> bool:
        return self.running < self._concurrency

    def start(self, incoming: MemoryIncoming) -> None:
        self.running += 1
        self._group.start_soon(self._run, incoming)

    async def _run(self, incoming: MemoryIncoming) -> None:
        try:
            await self._on_incoming(incoming)
        finally:
            self.running -= 1
            self._freed()


class Durable:
    """A consumer at work. on_exhausted hears of each message that may not be delivered any more."""

    def __init__(
        self, core: MemoryConsumer, clock: Clock, timers: Timers, on_exhausted: Callable[[Exhausted], None]
    ) -> None:
        self.core = core
        self.activity = 0
        self._clock = clock
        self._timers = timers
        self._on_exhausted = on_exhausted
        self._workers: list[_Worker] = []
        self._pump_is_due = False
        self._next_tick_ms: int | None = None

    @asynccontextmanager
    async def working(self, on_incoming: OnIncoming, concurrency: int) -> AsyncIterator[None]:
        async with background() as group:
            worker = _Worker(group, on_incoming, concurrency, self.wake)
            self._workers.append(worker)
            self.wake()
            try:
                yield
            finally:
                self._workers.remove(worker)

    def configure(self, spec: ConsumerSpec) -> None:
        self.core.configure(spec)
        self.wake()

    def wake(self) -> None:
        """Something may be deliverable: looks at the next turn of the event loop."""
        self.activity += 1
        if self._workers and not self._pump_is_due:
            self._pump_is_due = True
            asyncio.get_running_loop().call_soon(self._pump)

    def settle(self, sequence: int) -> None:
        self.core.settle(sequence)
        self.wake()

    def retry(self, sequence: int, delay_ms: int) -> None:
        self.core.retry(sequence, delay_ms, self._clock.now_ms())
        self._tick()

    def progress(self, sequence: int) -> None:
        self.core.progress(sequence, self._clock.now_ms())

    def _pump(self) -> None:
        self._pump_is_due = False
        free = [worker for worker in self._workers if worker.is_free]
        while free:
            worker = min(free, key=lambda one: one.running)
            message = self.core.next(self._clock.now_ms())
            if message is None:
                break
            self.activity += 1
            worker.start(MemoryIncoming(self, message))
            if not worker.is_free:
                free.remove(worker)
        self._watch()

    def _tick(self) -> None:
        for exhausted in self.core.expire(self._clock.now_ms()):
            self._on_exhausted(exhausted)
        self._watch()
        self.wake()

    def _watch(self) -> None:
        """Asks to be woken when the next acknowledgement is due."""
        due_ms = self.core.next_due_ms()
        if due_ms is not None and (self._next_tick_ms is None or due_ms < self._next_tick_ms):
            self._next_tick_ms = due_ms
            self._timers.at(due_ms, self._on_time)

    def _on_time(self) -> None:
        self._next_tick_ms = None
        self._tick()


class Subscription:
    """Plain messages on a subject filter, handed on one at a time in the order of their coming."""

    def __init__(self, subject: str, on_message: OnMessage, group: str) -> None:
        self.subject = subject
        self.group = group
        self.activity = 0
        self._on_message = on_message
        self._send, self._receive = anyio.create_memory_object_stream[Message](float("inf"))

    def put(self, message: Message) -> None:
        self.activity += 1
        self._send.send_nowait(message)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        with self._send, self._receive:
            async with background() as group:
                group.start_soon(self._listen)
                yield

    async def _listen(self) -> None:
        async for message in self._receive:
            await self._on_message(message)
            self.activity += 1
