"""The verbs of budgets and deviations and their arguments; the work is in budgeting.py and deviating.py."""

from __future__ import annotations

from typing import Annotated

import anyio
from cyclopts import App, Parameter

from interlock.agents.cli.parameters import As, Dir, Json, Nats
from interlock.agents.cli.session import Session

deviations = App(name="deviations", help="What went wrong and is not mended: open deviations with their clocks.")


def budget(goal: str = "", *, dir: Dir = None, nats: Nats = "", json: Json = False) -> int:
    """Limits, used, reserved, left and burn rate of the workspace's day, or of a goal."""
    from interlock.agents.cli.budgeting import show_budget

    return anyio.run(show_budget, Session(dir, nats, json), goal)


@deviations.default
def list_deviations(
    *,
    all: Annotated[bool, Parameter(negative="", help="Also those that are resolved.")] = False,
    dir: Dir = None,
    nats: Nats = "",
    json: Json = False,
) -> int:
    """Open deviations, their deadlines and what they halted."""
    from interlock.agents.cli import deviating

    return anyio.run(deviating.list_deviations, Session(dir, nats, json), all)


@deviations.command
def resolve(
    id: str,
    *,
    why: Annotated[str, Parameter(help="What was wrong and how it was mended; for the record.")],
    agent: As = "human",
    dir: Dir = None,
    nats: Nats = "",
    json: Json = False,
) -> int:
    """Close a deviation with a human's key, and resume what it halted."""
    from interlock.agents.cli import deviating

    return anyio.run(deviating.resolve, Session(dir, nats, json), id, why, agent)
