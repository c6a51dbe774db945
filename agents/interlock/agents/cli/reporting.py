"""`interlock report`: a report on demand, those issued, and whether a file is one of them."""

from __future__ import annotations

from contextlib import aclosing
from functools import cache
from pathlib import Path

from msgspec import Struct

from interlock.agents.cli.deviating import deviations_of
from interlock.agents.cli.session import Session
from interlock.agents.contract.store import load_contract
from interlock.agents.errors import UserError
from interlock.agents.replay.code import Code, load_code
from interlock.agents.reports.gathering import Sources
from interlock.agents.reports.issuing import STATEMENT, Files, is_signed, written
from interlock.agents.reports.making import LENGTHS, Kind, make_report
from interlock.agents.reports.periods import Period, day_name, named
from interlock.agents.reports.rendering import report_markdown
from interlock.agents.trace.render import visible
from interlock.agents.workspace.config_dir import config_dir
from interlock.agents.workspace.files import read_file
from interlock.agents.workspace.keys import load_key, load_trust
from interlock.bus.sender import Identity
from interlock.bus.streams import AUDIT
from interlock.bus.transport import Transport
from interlock.envelope.amounts import timestamp
from interlock.envelope.subjects import workspace_subject
from interlock.envelope.trust import Trust

MAX_BYTES = 64 << 20
MAX_FIRST = 1_000


class _Trusted(Struct, frozen=True):
    trust: Trust


async def make(session: Session, kind: Kind, date: str, first: int, out: Path | None, by: str) -> int:
    """Exit 2 for an attestation that FAILs. Raises UserError, BusError."""
    if not 1 <= first <= MAX_FIRST:
        raise UserError("bad_usage", f"--first {first} is not between 1 and {MAX_FIRST}", exit_code=2)
    suffix = "" if out is None else out.suffix.removeprefix(".")
    if out is not None and suffix not in ("json", "md", "html"):
        raise UserError("bad_usage", f"{out}: a report is .json, .md or .html", "Name the file so", 2)
    key, trust = load_key(session.layout, by), load_trust(session.layout)
    async with session.connected(offline=True) as transport:
        period = _period(kind, date or day_name(transport.clock.now_ms()))
        report = await make_report(
            sources_of(session, transport, trust),
            kind,
            period,
            config=config_dir(),
            region=session.settings.region,
            deviations=list(
                (await deviations_of(transport, session.workspace, trust, Identity("human", key))).values()
            ),
            first=first,
        )
    if out is not None:
        files = await written(report, key)
        if suffix not in files.files:
            raise UserError("no_plots", "HTML needs matplotlib", "Install interlock[plots], or write .md", 2)
        statement = _write(out, suffix, files)
        session.say(f"written: {out}, signed in {statement}", {"file": str(out), "statement": str(statement)})
    elif session.json:
        session.say("", report)
    else:
        session.say(report_markdown(report).rstrip("\n"))
    return 2 if kind == "attestation" and report["summary"]["outcome"] == "FAIL" else 0


def sources_of(session: Session, transport: Transport, trust: Trust) -> Sources:
    """The workspace on disk beside the streams."""
    settings, root = session.settings, session.layout.root

    @cache
    def code() -> Code:
        return load_code(
            config_dir(),
            skills=[(root / name).resolve() for name in settings.skills],
            playbooks=[(root / name).resolve() for name in settings.playbooks],
            workspace=session.workspace,
            environment=settings.environment,
        )

    chain = load_contract(session.layout)
    return Sources(transport, session.workspace, _Trusted(trust), settings.hops.limits, lambda: chain, code)


async def list_issued(session: Session) -> int:
    async with session.connected(offline=True) as transport:
        subject = workspace_subject(session.workspace, "audit", "report", ">")
        async with aclosing(transport.read(AUDIT.name, [subject])) as messages:
            rows = [(*message.subject.split(".")[-2:], timestamp(message.stored_ms)) async for message in messages]
    if session.json:
        session.say("", [{"kind": kind, "period": period, "issuedAt": at} for kind, period, at in rows])
        return 0
    for kind, period, at in rows:
        session.say(f"{period}  {visible(kind):<12} issued {at}")
    if not rows:
        session.say("no report is issued yet: the first day or week with an ended goal has to be over")
    return 0


def verify(session: Session, file: Path, statement: Path | None) -> int:
    """Exit 2 if the file is not what was signed. Raises UserError."""
    beside = statement or file.with_suffix("." + STATEMENT)
    problem = is_signed(read_file(file, MAX_BYTES), read_file(beside, MAX_BYTES), load_trust(session.layout))
    if problem:
        raise UserError(
            "not_verified", f"{file}: {problem}", "Get the report and its statement from their source again", 2
        )
    session.say(f"{file} is what was signed", {"file": str(file), "verified": True})
    return 0


def _period(kind: Kind, date: str) -> Period:
    try:
        return named(LENGTHS[kind], date)
    except ValueError as error:
        raise UserError("bad_date", f"--date: {error}", "Write it like 2026-11-20", 2) from error


def _write(out: Path, suffix: str, files: Files) -> Path:
    statement = out.with_suffix("." + STATEMENT)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(files.files[suffix])
        statement.write_bytes(files.files[STATEMENT])
    except OSError as error:
        raise UserError("not_writable", f"{out}: {error.strerror}", "Choose another file with -o") from error
    return statement
