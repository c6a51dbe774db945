"""What a conformance test works on: a transport, names of its own, and a way to let that transport's time pass."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio

from interlock.bus.clock import ManualClock
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.streams import BucketSpec, ConsumerSpec, Declarations, StreamSpec
from interlock.bus.transport import Incoming, Message, Transport

# An ack_wait that is long beside the scheduling of a busy machine and short beside a test's patience.
WAIT_MS = 400
PATIENCE_S = 10
_numbers = itertools.count(1)

Connect = Callable[[], AbstractAsyncContextManager[Transport]]


class Bench:
    """connect: another transport to the same broker. All times in ms."""

    def __init__(self, transport: Transport, connect: Connect) -> None:
        self.transport = transport
        self.connect = connect
        number = f"{os.getpid()}x{next(_numbers)}"
        self.name = f"T{number}"
        self._root = f"t{number}"

    def subject(self, *tokens: str) -> str:
        return ".".join((self._root, *tokens))

    async def stream(self, **settings: Any) -> str:
        """Declares the bench's stream, on everything under its root; its name."""
        usual: dict[str, Any] = {"name": self.name, "subjects": (self.subject(">"),), "max_bytes": 64 << 20}
        await self.transport.declare(Declarations(streams=(StreamSpec(**usual | settings),)))
        return self.name

    async def consumer(self, *tokens: str, **settings: Any) -> ConsumerSpec:
        """Declares the stream, and a consumer on what is under the tokens (all)."""
        await self.stream()
        subjects = (self.subject(*(tokens or (">",))),)
        usual: dict[str, Any] = {
            "stream": self.name,
            "name": "inbox",
            "subjects": subjects,
            "ack_wait_ms": WAIT_MS,
        }
        spec = ConsumerSpec(**usual | settings)
        await self.transport.declare(Declarations(consumers=(spec,)))
        return spec

    async def bucket(self, kind: str, **settings: Any) -> str:
        usual: dict[str, Any] = {"name": self._root, "kind": kind, "max_bytes": 64 << 20}
        await self.transport.declare(Declarations(buckets=(BucketSpec(**usual | settings),)))
        return self._root

    async def publish(self, *data: bytes, to: str = "a") -> list[int]:
        """Their sequences."""
        return [(await self.transport.publish(self.subject(to), one)).sequence for one in data]

    async def read(self, *filters: str, **settings: Any) -> list[Message]:
        """What the bench's stream holds, to its end."""
        subjects = [self.subject(one) for one in filters or (">",)]
        return [message async for message in self.transport.read(self.name, subjects, **settings)]

    def now_ms(self) -> float:
        raise NotImplementedError

    async def elapse(self, ms: int) -> None:
        """Lets this much time pass for the transport, and what is due then happen."""
        raise NotImplementedError

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits for something that needs no time to pass but that of the work."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline_s, "it did not happen"
            await self.elapse(0)

    async def until_due(self, condition: Callable[[], bool]) -> float:
        """Waits for something that comes with the transport's time; how long it took."""
        start_ms, deadline_s = self.now_ms(), time.monotonic() + PATIENCE_S
        while not condition():
            assert self.now_ms() < start_ms + 1000 * PATIENCE_S, "it did not happen"
            assert time.monotonic() < deadline_s, "it did not happen"
            await self.elapse(5)
        return self.now_ms() - start_ms


class MemoryBench(Bench):
    """Time stands still unless the test lets it pass."""

    def __init__(self) -> None:
        self._manual = ManualClock()
        self._memory = MemoryTransport(self._manual)
        super().__init__(self._memory, self._sibling)

    def now_ms(self) -> float:
        return self._manual.now_ms()

    async def elapse(self, ms: int) -> None:
        self._manual.advance(ms)
        await self._memory.settle()

    @asynccontextmanager
    async def _sibling(self) -> Any:
        yield MemoryTransport(self._manual, self._memory.broker)


class RunningBench(Bench):
    """Time is the machine's."""

    def now_ms(self) -> float:
        return time.monotonic() * 1000

    async def elapse(self, ms: int) -> None:
        await anyio.sleep(max(ms, 2) / 1000)


class Inbox:
    """A handler that notes what it is given and answers as told: ack, hold (until released or cancelled), or a function."""

    def __init__(self, answer: str = "ack") -> None:
        self.answer = answer
        self.seen: list[Message] = []
        self.held: list[Incoming] = []
        self.cancelled = 0
        self.running = 0
        self.most = 0

    async def __call__(self, incoming: Incoming) -> None:
        self.seen.append(incoming.message)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self.answer == "ack":
                await incoming.ack()
            elif self.answer == "hold":
                self.held.append(incoming)
                await anyio.sleep_forever()
            else:
                self.held.append(incoming)  # answered by the test
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    @property
    def data(self) -> list[bytes]:
        return [message.data for message in self.seen]

    @property
    def deliveries(self) -> list[tuple[bytes, int]]:
        return [(message.data, message.delivered) for message in self.seen]
