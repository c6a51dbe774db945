"""How long an execution keeps trying: a deadline on the injected clock, pauses that grow, reads that may be repeated."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from interlock.bus.clock import Clock, SystemClock
from interlock.skills.infrastructure.cluster.errors import ClusterError

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]
_FIRST_PAUSE_MS = 200
_LONGEST_PAUSE_MS = 10_000


class Patience:
    """Runs out at a deadline. sleep: seconds; a test moves its clock in it."""

    def __init__(self, deadline_ms: int, clock: Clock | None = None, sleep: Sleep = anyio.sleep) -> None:
        self._clock: Clock = clock or SystemClock()
        self._sleep = sleep
        self._deadline_ms = deadline_ms
        self._pause_ms = _FIRST_PAUSE_MS

    @classmethod
    def of(cls, within_ms: int, clock: Clock | None = None, sleep: Sleep = anyio.sleep) -> Patience:
        """From now on."""
        clock = clock or SystemClock()
        return cls(clock.now_ms() + within_ms, clock, sleep)

    def now_ms(self) -> int:
        return self._clock.now_ms()

    @property
    def left_ms(self) -> int:
        """Until the deadline, never below 0."""
        return max(0, self._deadline_ms - self._clock.now_ms())

    async def pause(self, at_least_ms: int = 0) -> bool:
        """Waits, longer each time, at least what a server asked for. False without waiting if that ends too late."""
        wait_ms = max(self._pause_ms, at_least_ms)
        self._pause_ms = min(_LONGEST_PAUSE_MS, self._pause_ms * 2)
        if wait_ms >= self.left_ms:
            return False
        await self._sleep(wait_ms / 1000)
        return True

    async def wait(self, ms: int) -> None:
        """Waits so long, at most until the deadline."""
        await self._sleep(min(ms, self.left_ms) / 1000)

    async def read(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeats a call that changes nothing until it answers. Raises its last ClusterError."""
        while True:
            try:
                return await call()
            except ClusterError as error:
                if not error.retryable or not await self.pause(error.retry_after_ms):
                    raise
