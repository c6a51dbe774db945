"""The verbs of the web console and their arguments; the work is in consoling.py."""

from __future__ import annotations

from typing import Annotated

import anyio
from cyclopts import App, Parameter
from cyclopts.validators import Number

from interlock.agents.cli.parameters import Dir, Json, Nats
from interlock.agents.cli.session import Session

console = App(name="console", help="The web console: see goals live, decide, halt, redrive, verify.")
Whose = Annotated[str, Parameter(name="--as", help="Whose key: human, or human.NAME.")]


@console.default
def console_serve(
    *,
    port: Annotated[
        int | None,
        Parameter(help="Instead of console.port; 0: any that is free.", validator=Number(gte=0, lte=65_535)),
    ] = None,
    agent: Whose = "human",
    dir: Dir = None,
    nats: Nats = "",
    json: Json = False,
) -> int:
    """Serve the console of a running Interlock until interrupted, on this machine alone."""
    from interlock.agents.cli.consoling import stay

    return anyio.run(stay, Session(dir, nats, json), port, agent)


@console.command(name="login")
def console_login(
    challenge: str = "",
    *,
    url: Annotated[str, Parameter(help="The console's origin; default: the one running here.")] = "",
    agent: Whose = "human",
    dir: Dir = None,
    json: Json = False,
) -> int:
    """Print a link that logs in once. With the CHALLENGE of a login page: the answer to paste there."""
    from interlock.agents.cli.consoling import log_in

    return log_in(Session(dir, "", json), challenge, url, agent)
