"""One process that produces and consumes: the shape in which libraries are compared."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

WINDOW = 128
Publish = Callable[[int], Awaitable[Any]]


async def pump(count: int, publish: Publish, done: asyncio.Event) -> float:
    """Messages per second from the first publish to the last handled."""
    began = time.perf_counter()

    async def worker(numbers: range) -> None:
        for number in numbers:
            await publish(number)

    await asyncio.gather(*(worker(range(start, count, WINDOW)) for start in range(WINDOW)))
    await asyncio.wait_for(done.wait(), 120)
    return count / (time.perf_counter() - began)
