"""Things to do at a time of an injected clock: by the event loop when the clock runs, on demand when it is moved."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

from interlock.bus.clock import Clock, ManualClock


class Timers:
    """Calls each action once its time has come. With a ManualClock nothing happens until `run_due`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._manual = isinstance(clock, ManualClock)
        self._numbers = itertools.count()
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._armed: tuple[int, asyncio.TimerHandle] | None = None

    def at(self, due_ms: int, action: Callable[[], None]) -> None:
        """Calls the action at or after due_ms. It cannot be taken back: let it look whether it is still wanted."""
        heapq.heappush(self._heap, (due_ms, next(self._numbers), action))
        self._arm()

    def run_due(self) -> None:
        """Calls what is due, in order of time."""
        while self._heap and self._heap[0][0] <= self._clock.now_ms():
            heapq.heappop(self._heap)[2]()

    def _arm(self) -> None:
        if self._manual or not self._heap:
            return
        due_ms = self._heap[0][0]
        if self._armed is not None:
            if self._armed[0] <= due_ms:
                return
            self._armed[1].cancel()
        delay_s = max(0, due_ms - self._clock.now_ms()) / 1000
        self._armed = (due_ms, asyncio.get_running_loop().call_later(delay_s, self._fire))

    def _fire(self) -> None:
        self._armed = None
        self.run_due()
        self._arm()
