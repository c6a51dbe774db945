"""When a goal is ended if it has not ended by itself. Pure."""

from __future__ import annotations

from interlock.agents.goal.state import Began
from interlock.envelope.amounts import time_ms

# An envelope cannot outlive its parent: the last part of the goal's time is kept for telling how it ended.
CLOSING_MS = 30_000


def deadline_ms(began: Began) -> int:
    """When the goal is ended if it has not ended by itself: the deadline its user gave, else up to 30 s, at most a
    tenth, before its envelopes die.
    """
    if began.intake.deadline is not None:
        return time_ms(began.intake.deadline)
    whole = began.origin.deadline_ms - began.at_ms
    return began.origin.deadline_ms - min(CLOSING_MS, whole // 10)
