"""A run on its way, seen from the host: what it has said so far, what it may still do, and why it was ended."""

from __future__ import annotations

import os
import signal
import time

from interlock.skills.protocol import Outcome, RunOrder
from interlock.skills.watch import family
from interlock.skills.watch.disk import over_disk

LOG_BYTES = 16 * 1024
MEASURE_S = 0.04
_MIN_PRINTED = 1 << 20
# The answer around the output: status, detail.
_ANSWER_BYTES = 4096


class Run:
    """verdict: why the host ended it, None while it may go on. cpu_us: of those who have been reaped. answered: its
    process has said what came of it, and would go on living. pid, pid_fd: of the process that serves it; scratch, out:
    where it may write.
    """

    def __init__(self, order: RunOrder, pid: int, pid_fd: int, *, scratch: str, out: str) -> None:
        self.order = order
        self.pid = pid
        self._pid_fd = pid_fd
        self._places = (scratch, out)
        self.answered = False
        self.began = time.monotonic()
        self.log = bytearray()
        self.result = bytearray()
        self.cpu_us = 0
        self.verdict: tuple[Outcome, str] | None = None
        self._printed = 0
        self._kill_at = self.began + order.wall_ms / 1000
        self._measured = self.began

    def take(self, data: bytes, *, printed: bool) -> None:
        """What it printed or answered; too much ends it."""
        limit = self.order.output_bytes
        if printed:
            self._printed += len(data)
            self.log = (self.log + data)[-LOG_BYTES:]
            most = max(limit, _MIN_PRINTED)
            if self._printed > most:
                self.kill("output_too_large", f"it printed more than {most} bytes")
        else:
            self.result += data
            if len(self.result) > limit + _ANSWER_BYTES:
                self.kill("output_too_large", f"its result has more than {limit} bytes")

    def measure(self, now: float) -> None:
        """Ends it if it is over a limit that the kernel does not hold for us."""
        if now >= self._kill_at:
            self.kill("wall_limit", f"it ran for more than {self.order.wall_ms} ms")
        elif now - self._measured >= MEASURE_S and self.verdict is None:
            self._measured = now
            self._measure_disk()
            if self.order.processes:
                self._measure_family()

    def _measure_disk(self) -> None:
        order = self.order
        pids = [member.pid for member in family.members(self.pid)] if order.processes else [self.pid]
        problem = over_disk(self._places, pids, max_bytes=order.scratch_bytes, max_files=order.max_files)
        if problem:
            self.kill("disk_limit", problem)

    def _measure_family(self) -> None:
        """The kernel's limits count for each process; these are for all of them together."""
        order, living = self.order, family.members(self.pid)
        if len(living) > order.processes + 1:
            self.kill("process_limit", f"it started more than {order.processes} processes")
        elif self.cpu_us + sum(member.cpu_us for member in living) > order.cpu_seconds * 1_000_000:
            self.kill("cpu_limit", f"its processes used more than {order.cpu_seconds} CPU seconds")
        elif sum(member.rss_bytes for member in living) > order.memory_bytes:
            self.kill("memory_limit", f"its processes held more than {order.memory_bytes >> 20} MB of memory")

    def stop(self, grace_ms: int) -> None:
        """Asks it to end, and ends it after the grace period."""
        if self.verdict is None:
            self.verdict = ("stopped", "it was stopped")
            self._kill_at = time.monotonic() + grace_ms / 1000
            self._signal(signal.SIGTERM)

    def kill(self, outcome: Outcome, detail: str) -> None:
        if self.verdict is None:
            self.verdict = (outcome, detail)
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        """To the group, or to the process alone while it has not yet made its group. The descriptor keeps its number
        from meaning somebody else.
        """
        try:
            signal.pidfd_send_signal(self._pid_fd, number)
            os.killpg(self.pid, number)
        except OSError:
            return  # it has ended, or has no group yet and so nobody in it
