"""Failpoints: named places at which a campaign has a role killed as `kill -9` would (AUD-11). Off unless the environment
variable INTERLOCK_FAILPOINTS names a directory when the process starts; then a file there with a point's name is taken
away by whoever reaches that point first, who dies on the spot. So a point is armed while everything runs, for one death.

Random kills miss the moments that matter: between an effect and its record lie microseconds.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

VARIABLE = "INTERLOCK_FAILPOINTS"
# Every point, and what it parts. A role reaches those of the parts that it is made of.
POINTS = {
    "hop_received": "a hop delivered | nothing done yet",
    "hop_handled": "a hop handled | not acknowledged",
    "hop_answered": "acknowledgement sent | before anything else",
    "letter_due": "given up | before the dead letter",
    "letter_stored": "dead letter stored | the original not terminated",
    "child_signed": "a child signed | not published",
    "child_stored": "a child published | its sender knows of nothing",
    "goal_received": "a goal delivered to the gateway | nothing done yet",
    "goal_opened": "the goal's scope open in the ledger | its intake not published",
    "goal_published": "the intake published | the submitter not answered, the goal not acknowledged",
    "event_decided": "the orchestrator decided | not journaled",
    "event_recorded": "journaled | nothing sent",
    "event_sent": "sent | status not told",
    "event_told": "status told | not acknowledged",
    "intent_due": "a task accepted | no intent",
    "intent_stored": "intent stored | effect not begun",
    "effect_done": "the effect happened | no outcome stored",
    "outcome_stored": "outcome stored | no answer sent",
    "amount_reserved": "reserved | the handler not called",
    "amount_due": "the handler done | not settled",
    "ledger_decided": "the ledger decided | no balance stored",
    "ledger_stored": "balances stored | nobody answered",
    "batch_judged": "hops judged | not in the log",
    "batch_recorded": "in the log | no checkpoint",
    "checkpoint_stored": "checkpoint stored | not remembered outside",
    "goal_closing": "a goal's signature log stored | not announced",
}
_ARMED = os.environ.get(VARIABLE, "")


def failpoint(name: str) -> None:
    """Dies here if the point is armed; else costs a look at a variable."""
    if _ARMED:
        _reached(name)


def arm(directory: Path, name: str) -> None:
    """The next to reach the point dies there. Raises KeyError for a point that there is not."""
    POINTS[name]
    (directory / name).touch()


def watch(directory: str) -> None:
    """For processes that were forked: where their points are armed."""
    global _ARMED
    _ARMED = directory


def _reached(name: str) -> None:
    try:
        (Path(_ARMED) / name).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
