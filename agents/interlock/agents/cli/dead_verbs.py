"""The verbs of dead letters and their arguments; the work is in dead_letters.py."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import anyio
from cyclopts import App, Parameter

from interlock.agents.cli.parameters import As, Dir, Json, Nats
from interlock.agents.cli.session import Session

dead = App(name="dead", help="Dead letters: what could not be handled, and why; put it back when the cause is mended.")

Role = Annotated[str, Parameter(help="Only those of this role.")]
Why = Annotated[str, Parameter(name="--reason", help="Only those with this reason.")]


@dead.command(name="list")
def dead_list(*, role: Role = "", reason: Why = "", dir: Dir = None, nats: Nats = "", json: Json = False) -> int:
    """All of them, oldest first."""
    from interlock.agents.cli.dead_letters import list_letters

    return anyio.run(list_letters, Session(dir, nats, json), role, reason)


@dead.command(name="show")
def dead_show(letter: str, *, dir: Dir = None, nats: Nats = "", json: Json = False) -> int:
    """One of them whole: LETTER is its number, as `dead list` shows it."""
    from interlock.agents.cli.dead_letters import show_letter

    return anyio.run(show_letter, Session(dir, nats, json), letter)


@dead.command(name="redrive")
def dead_redrive(
    *letters: str,
    all: Annotated[bool, Parameter(negative="", help="All that were not put back yet.")] = False,
    role: Role = "",
    reason: Why = "",
    why: Annotated[str, Parameter(help="For the record: what was mended.")] = "",
    agent: As = "human",
    dir: Dir = None,
    nats: Nats = "",
    json: Json = False,
) -> int:
    """Put letters back, with new deliveries, signed. Exit 0 all of them, 2 some could not be put back."""
    from interlock.agents.cli.dead_letters import redrive

    work = partial(redrive, everything=all, role=role, reason=reason, why=why, agent=agent)
    return anyio.run(work, Session(dir, nats, json), letters)
