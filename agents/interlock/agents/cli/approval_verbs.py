"""The verbs of approvals and their arguments; the work is in approving.py."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import anyio
from cyclopts import Parameter

from interlock.agents.cli.parameters import As, Dir, Json, Nats
from interlock.agents.cli.session import Session


def approvals(
    *,
    all: Annotated[bool, Parameter(negative="", help="Also those that have ended.")] = False,
    dir: Dir = None,
    nats: Nats = "",
    json: Json = False,
) -> int:
    """What waits for a human's approval."""
    from interlock.agents.cli.approving import list_approvals

    return anyio.run(list_approvals, Session(dir, nats, json), all)


def approve(
    approval: str,
    *,
    why: Annotated[str, Parameter(help="Goes into the record.")] = "approved",
    agent: As = "human",
    dir: Dir = None,
    nats: Nats = "",
    json: Json = False,
) -> int:
    """Approve exactly what is asked for, with a signature. Exit 0 it counts, 2 too late or not allowed."""
    from interlock.agents.cli.approving import decide_approval

    decide = partial(decide_approval, allows=True, reason=why, agent=agent)
    return anyio.run(decide, Session(dir, nats, json), approval)


def reject(
    approval: str,
    *,
    why: Annotated[str, Parameter(help="The reason; the goal is told.")],
    agent: As = "human",
    dir: Dir = None,
    nats: Nats = "",
    json: Json = False,
) -> int:
    """Refuse what is asked for, with a signature and a reason."""
    from interlock.agents.cli.approving import decide_approval

    decide = partial(decide_approval, allows=False, reason=why, agent=agent)
    return anyio.run(decide, Session(dir, nats, json), approval)
