"""One process that produces and consumes: the shape in which libraries are compared."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

WINDOW = 128
# Before the clock is started: whoever starts a child or compiles something at its first message has done so.
WARM = 512
Publish = Callable[[int], Awaitable[Any]]


class Tally:
    """How many messages were handled."""

    def __init__(self) -> None:
        self._handled = 0
        self._wanted = 0
        self._reached = asyncio.Event()

    def one_more(self) -> None:
        self._handled += 1
        if self._handled == self._wanted:
            self._reached.set()

    async def until(self, wanted: int) -> None:
        self._wanted = wanted
        self._reached.clear()
        if self._handled < wanted:
            await asyncio.wait_for(self._reached.wait(), 120)


async def pump(count: int, publish: Publish, tally: Tally) -> float:
    """Messages per second from the first publish to the last handled."""
    await _publish_all(range(WARM), publish)
    await tally.until(WARM)
    began = time.perf_counter()
    await _publish_all(range(WARM, WARM + count), publish)
    await tally.until(WARM + count)
    return count / (time.perf_counter() - began)


async def _publish_all(numbers: range, publish: Publish) -> None:
    async def worker(ours: range) -> None:
        for number in ours:
            await publish(number)

    await asyncio.gather(*(worker(numbers[start::WINDOW]) for start in range(WINDOW)))
