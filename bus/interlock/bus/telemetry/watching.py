"""What an actor tells of each hop to whoever watches (OPS-01, OPS-02). Watching must not raise, wait, or change anything."""

from __future__ import annotations

from typing import Protocol

from interlock.bus.hop import Hop, Outcome

# How a hop ended, as it is told: these, or the disposition that it was given up with.
DONE, HELD = "done", "held"


class Watched(Protocol):
    """One hop under watch."""

    def end(self, outcome: Outcome | None) -> None:
        """It was answered so; None: it was not, and is held or comes again."""


class HopWatch(Protocol):
    """Told of every hop as it is taken up."""

    def begin(self, hop: Hop) -> Watched: ...
