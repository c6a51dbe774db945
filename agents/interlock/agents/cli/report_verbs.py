"""The verbs of reports and their arguments; the work is in reporting.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import anyio
from cyclopts import App, Parameter

from interlock.agents.cli.parameters import Dir, Json, Nats, Out
from interlock.agents.cli.session import Session

report = App(
    name="report", help="Reports made from the log alone: cost, signatures, attestation, brief, carbon, compliance."
)


@report.default
def report_make(
    kind: Literal["cost", "signatures", "attestation", "brief", "carbon", "compliance"],
    *,
    date: Annotated[str, Parameter(help="A day like 2026-11-20 of the period; default: today's.")] = "",
    first: Annotated[int, Parameter(help="How many goals a brief looks at.")] = 7,
    out: Out = None,
    agent: Annotated[str, Parameter(name="--as", help="Whose key signs: human, or human.NAME.")] = "human",
    dir: Dir = None,
    nats: Nats = "",
    json: Json = False,
) -> int:
    """Make a report now. -o FILE.json, FILE.md or FILE.html writes it, and beside it FILE.intoto.json, signed. Exit 2
    if an attestation FAILs.
    """
    from interlock.agents.cli.reporting import make

    return anyio.run(make, Session(dir, nats, json), kind, date, first, out, agent)


@report.command(name="list")
def report_list(*, dir: Dir = None, nats: Nats = "", json: Json = False) -> int:
    """The reports that the auditor has issued, newest last."""
    from interlock.agents.cli.reporting import list_issued

    return anyio.run(list_issued, Session(dir, nats, json))


@report.command(name="verify")
def report_verify(
    file: Path,
    statement: Annotated[Path | None, Parameter(help="Default: the .intoto.json beside it.")] = None,
    *,
    dir: Dir = None,
    json: Json = False,
) -> int:
    """Whether a report's file is what the auditor or a human signed. No network. Exit 2 if not."""
    from interlock.agents.cli.reporting import verify

    return verify(Session(dir, "", json), file, statement)
