"""Reports as they are handed out: their files, the signed statement over them, their place by date, and that each is
issued once (AUD-06…09).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import anyio
import msgspec
from msgspec import Struct

from interlock.agents.reports.cost import Day
from interlock.agents.reports.making import Kind
from interlock.agents.reports.periods import Period
from interlock.agents.reports.rendering import report_markdown
from interlock.bus.errors import Conflict
from interlock.bus.streams import AUDIT
from interlock.bus.transport import Transport
from interlock.envelope.amounts import micro_usd
from interlock.envelope.canonical import canonical
from interlock.envelope.ids import sha256_hex
from interlock.envelope.keys import SigningKey
from interlock.envelope.model import Attestation
from interlock.envelope.signing import attest, is_valid_attestation
from interlock.envelope.subjects import workspace_subject
from interlock.envelope.trust import Trust

BUCKET = "bundles"
PREDICATE_TYPE = "https://interlock.dev/report/v1"
STATEMENT = "intoto.json"
PAGE_S = 60


class Files(Struct, frozen=True):
    """name: `cost-default-2026-11-20`; files: content by suffix (json, md, html, intoto.json)."""

    name: str
    files: dict[str, bytes]


async def written(report: dict[str, Any], key: SigningKey) -> Files:
    """The report in every form, and a statement over all of them, signed. Without the extra `plots` there is no HTML."""
    name = f"{report['kind']}-{report['workspace']}-{report['period']}"
    files = {
        "json": msgspec.json.format(canonical(report), indent=2) + b"\n",
        "md": report_markdown(report).encode(),
    }
    page = await _page(report)
    if page:
        files["html"] = page
    subject = [
        {"name": f"{name}.{kind}", "digest": {"sha256": sha256_hex(data)}} for kind, data in sorted(files.items())
    ]
    statement: dict[str, object] = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subject,
        "predicateType": PREDICATE_TYPE,
        "predicate": {part: report[part] for part in ("kind", "workspace", "period")},
    }
    return Files(name, files | {STATEMENT: canonical(msgspec.to_builtins(attest(statement, key))) + b"\n"})


def is_signed(data: bytes, statement: bytes, trust: Trust) -> str:
    """Empty if the file is named in a statement that the auditor's or a human's key signed; else what is wrong."""
    try:
        signed = msgspec.json.decode(statement, type=Attestation)
        subjects = {entry["digest"]["sha256"] for entry in signed.statement["subject"]}
    except (msgspec.MsgspecError, ValueError, KeyError, TypeError, RecursionError) as error:
        return f"the statement is not readable: {error}"
    if not is_valid_attestation(signed):
        return "the statement's signature does not verify"
    enrolled = trust.find(signed.key_id)
    if enrolled is None or enrolled.agent.partition(".")[0] not in ("auditor", "human"):
        return "who signed the statement may not sign reports"
    return "" if sha256_hex(data) in subjects else "the file is not what the statement was signed over"


async def issue(transport: Transport, workspace: str, kind: Kind, period: Period, files: Files) -> bool:
    """Stores the files, then says in AUDIT that the report is issued. False if somebody has done so before. Raises BusError."""
    for suffix, data in files.files.items():
        await transport.put_object(BUCKET, f"reports/{period.path}/{files.name}.{suffix}", data)
    notice = {"kind": kind, "period": period.name, "statement": files.files[STATEMENT].decode()}
    try:
        subject = issued_subject(workspace, kind, period)
        await transport.publish(subject, msgspec.json.encode(notice), expected_sequence=0)
    except Conflict:
        return False
    return True


async def is_issued(transport: Transport, workspace: str, kind: Kind, period: Period) -> bool:
    return await transport.last(AUDIT.name, issued_subject(workspace, kind, period)) is not None


def issued_subject(workspace: str, kind: Kind, period: Period) -> str:
    return workspace_subject(workspace, "audit", "report", kind, period.name)


async def earlier_day(transport: Transport, workspace: str, day: Period) -> Day | None:
    """What the issued cost report of a day says; None if there is none."""
    if not await is_issued(transport, workspace, "cost", day):
        return None
    data = await transport.get_object(BUCKET, f"reports/{day.path}/cost-{workspace}-{day.name}.json")
    summary = msgspec.json.decode(data)["summary"]
    return Day(day.name, micro_usd(summary["totalCostUSD"]), summary["tokens"])


async def laid_out(files: Files, root: Path, period: Period) -> Path:
    """The files in the tree by date, `root/2026/11/20/`; what stands there already is written again. Raises OSError."""
    directory = anyio.Path(root / period.path)
    await directory.mkdir(parents=True, exist_ok=True)
    for suffix, data in files.files.items():
        await (directory / f"{files.name}.{suffix}").write_bytes(data)
    return Path(directory)


async def _page(report: dict[str, Any]) -> bytes:
    """By a process of its own. Empty if it cannot: a report is not lost for want of a picture."""
    command = [sys.executable, "-m", "interlock.agents.reports.pages"]
    with anyio.move_on_after(PAGE_S):
        done = await anyio.run_process(
            command, input=msgspec.json.encode(report), check=False, env={"MPLBACKEND": "svg"}
        )
        return done.stdout if done.returncode == 0 else b""
    return b""
