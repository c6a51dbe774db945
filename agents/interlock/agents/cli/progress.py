"""Progress: one line that renews itself on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import Self, TextIO

from interlock.agents.status import GoalStatus

PLAIN_EVERY_S = 1.0


class Progress:
    """Observes; whatever goes wrong with the stream is not its business."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._live = stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        self._last = ""
        self._told_phase = ""
        self._told_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live and self._last:
            self.stream.write("\n")
            self.stream.flush()

    @property
    def standing(self) -> str:
        """What was shown last, empty at first."""
        return self._last

    def line(self, text: str) -> None:
        self.stream.write(text + "\n")
        self.stream.flush()

    def show(self, status: GoalStatus | None, hops: int) -> None:
        if status is None:
            return
        text = told(status, hops)
        if self._live:
            if text != self._last:
                self.stream.write(f"\r\x1b[2K{bar(status)} {text}")
                self.stream.flush()
        elif text != self._last and (
            status.phase != self._told_phase or time.monotonic() - self._told_at >= PLAIN_EVERY_S
        ):
            self.line(text)
            self._told_phase, self._told_at = status.phase, time.monotonic()
        self._last = text


def told(status: GoalStatus, hops: int) -> str:
    """Tasks, hops, cost, what runs now."""
    running = f" · {', '.join(status.running[:4])}" if status.running else ""
    return (
        f"{status.phase}: {status.tasks_done}/{status.tasks_total} tasks, {hops} hops, {status.cost_usd} USD{running}"
    )


def bar(status: GoalStatus, width: int = 20) -> str:
    filled = width * status.tasks_done // max(1, status.tasks_total)
    return "[" + "█" * filled + "·" * (width - filled) + "]"
