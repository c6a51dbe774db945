"""What waits for a row of workers."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class WorkQueue(Generic[T]):
    """First in, first out. One worker is woken at a time, and wakes the next one if it leaves something: handlers that
    wait run side by side as with asyncio.Queue, and those that do not are run through by one worker, which spares a
    future and a task switch per message (5 us of CPU).
    """

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._waking = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        self._items.append(item)
        self._wake_one()

    async def get(self) -> T:
        while not self._items:
            future = asyncio.get_running_loop().create_future()
            self._idle.append(future)
            try:
                await future
            except asyncio.CancelledError:
                if future.done() and not future.cancelled():
                    self._waking = False
                    self._wake_one()  # the one woken will not come: another does
                elif future in self._idle:
                    self._idle.remove(future)
                raise
            self._waking = False
        item = self._items.popleft()
        self._wake_one()
        return item

    def _wake_one(self) -> None:
        while self._items and self._idle and not self._waking:
            future = self._idle.popleft()
            if not future.done():
                self._waking = True
                future.set_result(None)
