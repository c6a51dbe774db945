"""Clocks. Everything that decides takes its time from one of these; only the edge asks the machine."""

from __future__ import annotations

import time
from typing import Protocol

_BOOT: int | None = getattr(time, "CLOCK_BOOTTIME", None)


class Clock(Protocol):
    """Wall time in ms since 1970 UTC."""

    def now_ms(self) -> int: ...


def boot_s() -> float:
    """Seconds that never jump, the same for all processes of a machine. Where the system can, they run on while it
    sleeps: what was known before a sleep is old afterwards.
    """
    return time.clock_gettime(_BOOT) if _BOOT is not None else time.monotonic()


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that stands still until it is moved: for tests and replays."""

    def __init__(self, start_ms: int = 1_763_700_000_000) -> None:
        self._now_ms = start_ms

    def now_ms(self) -> int:
        return self._now_ms

    def advance(self, ms: int) -> None:
        """Moves the clock on (or back, for tests of clock jumps)."""
        self._now_ms += ms
