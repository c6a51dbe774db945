"""The verb `replay` and its arguments; the work is in replaying."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import anyio
from cyclopts import Parameter
from cyclopts.validators import Number

from interlock.agents.cli.parameters import Dir, Json, Nats
from interlock.agents.cli.session import Session


def replay(
    goal: Annotated[str, Parameter(help="A goal's id or its beginning, or a bundle file.")] = "",
    *,
    from_sequence: Annotated[
        int, Parameter(validator=Number(gte=0), help="All goals that entered at or after this sequence of HOPS.")
    ] = 0,
    from_time: Annotated[str, Parameter(help="All goals that entered at or after this time, RFC 3339 in UTC.")] = "",
    live: Annotated[bool, Parameter(negative="", help="Run the skills again too, and score their answers.")] = False,
    report: Annotated[
        bool, Parameter(negative="", help="State how much agreed, signed: below 950 of 1000 it is a deviation.")
    ] = False,
    to: Annotated[str, Parameter(help="Tell the hops again under interlock-replay.<TO> instead.")] = "",
    pace: Annotated[
        Literal["original", "full"], Parameter(help="With --to: with the pauses they had, or none.")
    ] = "full",
    skills: Annotated[
        tuple[Path, ...], Parameter(name="--skills", negative="", help="A directory of skills, as the goal brought it.")
    ] = (),
    root: Annotated[tuple[str, ...], Parameter(negative="", help="A public root key to trust a bundle by.")] = (),
    dir: Dir = None,
    nats: Nats = "",
    json: Json = False,
) -> int:
    """Run a recorded goal through today's code and compare every decision. Exit 0 all equal, 2 they diverge."""
    from interlock.agents.cli.replaying import Wanted, replay_goals

    wanted = Wanted(
        goal=goal,
        from_sequence=from_sequence,
        from_time=from_time,
        live=live,
        report=report,
        to=to,
        pace=pace,
        skills=skills,
        roots=root,
    )
    return anyio.run(replay_goals, Session(dir, nats, json), wanted)
