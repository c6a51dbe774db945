"""A cell: one confined process, and the runs that it serves one after another (docs/adr/0011).

A cell serves runs of one goal with one skill, confined alike, and only while each leaves nothing behind: a file, a
descriptor, a thread, more memory than it was given room for. Whatever else happens ends it, and the next run has a new one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

import msgspec
from msgspec import Struct

from interlock.skills.child import RESULT, TURNS, Turn
from interlock.skills.protocol import RunOrder
from interlock.skills.running import Run
from interlock.skills.watch import family

MAX_RUNS = 64
MAX_AGE_S = 10.0
IDLE_S = 0.3
# What earlier runs may have used altogether; the kernel's limit on the process is wider by a second, the cell's own is not.
MAX_USED_US = 500_000
# Between two runs nothing is to be done but to fall asleep.
MAX_IDLE_US = 2_000
# What a pipe takes at once: the host waits for nobody to read.
MAX_TURN_BYTES = 60_000
_CPU_CLOCK = 2  # CPUCLOCK_SCHED, see clock_getcpuclockid(3)
_DESCRIPTORS = frozenset(str(descriptor) for descriptor in range(max(RESULT, TURNS) + 1))


class Pipes(Struct, frozen=True):
    """The host's ends: what is printed, what is answered, and what is to be done next (-1: one run only)."""

    log: int
    result: int
    turns: int = -1


class Cell:
    """terms: what its process is confined to. out: where its runs put files. run: the one on its way, None between two."""

    def __init__(self, order: RunOrder, pid: int, pipes: Pipes, out: str) -> None:
        self.terms = terms_of(order)
        self.scratch = order.scratch
        self.out = out
        self.pid = pid
        self.pid_fd = os.pidfd_open(pid)
        self.pipes = pipes
        self.served = 0
        self.charged_us = 0
        self.ending = False
        self._born = time.monotonic()
        self._idle_since = 0.0
        self.run: Run | None = Run(order, pid, self.pid_fd, scratch=self.scratch, out=out)

    @property
    def is_shared(self) -> bool:
        return self.pipes.turns >= 0

    @property
    def cpu_us(self) -> int:
        """Of the process since it was forked, 0 once it has ended."""
        try:
            return time.clock_gettime_ns((~self.pid << 3) | _CPU_CLOCK) // 1000
        except OSError:
            return 0

    def begin(self, order: RunOrder) -> bool:
        """Hands the next run over; False if that cannot be done."""
        turn = Turn(input=order.input, now=order.now, seed=order.seed, begin_by_s=order.begin_by_s)
        line = msgspec.json.encode(turn) + b"\n"
        if len(line) > MAX_TURN_BYTES:
            return False
        with contextlib.suppress(OSError):  # else the peak told is that of all runs so far
            _forget_peak(self.pid)
        try:
            handed = os.write(self.pipes.turns, line) == len(line)
        except OSError:
            handed = False
        if handed:
            self.run = Run(order, self.pid, self.pid_fd, scratch=self.scratch, out=self.out)
        return handed

    def measure(self, now: float) -> None:
        """Ends what is over a limit that the kernel does not hold for us."""
        if self.run is None:
            idle = now - self._idle_since
            if idle >= IDLE_S or self.cpu_us - self.charged_us > MAX_IDLE_US:
                self.end()
            return
        self.run.measure(now)
        limit = self.run.order.cpu_seconds
        if self.is_shared and self.run.verdict is None and self.cpu_us - self.charged_us > limit * 1_000_000:
            self.run.kill("cpu_limit", f"it used more than {limit} CPU seconds")

    def rest(self, cpu_us: int) -> None:
        """The run has ended, and the cell waits for another."""
        self.run = None
        self.served += 1
        self.charged_us += cpu_us
        self._idle_since = time.monotonic()

    def rested_s(self, now: float) -> float:
        return now - self._idle_since

    def end(self) -> None:
        """Kills the process; what it was doing is judged by what was said before."""
        self.ending = True
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self.pid_fd, signal.SIGKILL)

    def peak_rss_kb(self) -> int | None:
        """Of the run that has just answered, if the cell may serve another: it left nothing behind. Else None."""
        if self.served + 1 >= MAX_RUNS or time.monotonic() - self._born > MAX_AGE_S or self.cpu_us > MAX_USED_US:
            return None
        try:
            if any(next(os.scandir(place), None) is not None for place in (self.scratch, self.out)):
                return None
            held = [entry.name for entry in os.scandir(f"/proc/{self.pid}/fd")]
            if not _DESCRIPTORS.issuperset(held):
                return None
            size = family.size(self.pid)
        except (OSError, ValueError):
            return None
        is_small = 2 * size.held_kb * 1024 <= self.terms.memory_bytes
        return size.peak_kb if is_small and size.threads == 1 else None


def _forget_peak(pid: int) -> None:
    """proc(5), clear_refs: the peak of memory counts from now on."""
    descriptor = os.open(f"/proc/{pid}/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, b"5")
    finally:
        os.close(descriptor)


def terms_of(order: RunOrder) -> RunOrder:
    """What two orders have in common if one process may serve both: everything but the run itself."""
    return msgspec.structs.replace(
        order, id="", input={}, now="", seed=0, scratch="", out="", wall_ms=0, begin_by_s=0.0
    )
