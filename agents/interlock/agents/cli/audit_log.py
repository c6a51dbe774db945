"""`interlock audit check`, `audit prove`, `audit checkpoint`: the log over all streams."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import msgspec

from interlock.agents.audit.log.check import auditors, check_log, last_checkpoint, read_log
from interlock.agents.audit.log.continuation import is_continuation, make_continuation, verify_continuation
from interlock.agents.audit.log.proof import ProofRefused, make_proof, verify_proof
from interlock.agents.audit.log.records import told
from interlock.agents.audit.log.sources import origin_of
from interlock.agents.cli.session import Session
from interlock.agents.errors import UserError
from interlock.agents.workspace.files import read_file
from interlock.agents.workspace.keys import load_roots, load_trust
from interlock.bus.streams import HOPS
from interlock.bus.transport import MESSAGE_ID, Transport
from interlock.envelope.checkpoint import Checkpoint, CheckpointError, open_checkpoint
from interlock.envelope.ids import is_uuid7, sha256_hex
from interlock.envelope.subjects import workspace_subject
from interlock.envelope.trust import Trust

SHOWN = 50
MAX_NOTE_BYTES = 64 * 1024


async def check(session: Session, witness: Path | None) -> int:
    """Exit 0 if nothing is missing, changed or inserted; 2 with the findings. witness: a checkpoint kept elsewhere."""
    trust = load_trust(session.layout)
    async with session.connected(offline=True) as transport:
        verdict = await check_log(transport, session.workspace, trust, known=_known(session, witness, trust))
    lines = [f"  {stream}: {count} as recorded" for stream, count in verdict.compared.items() if count]
    lines += [f"  {stream}: {count} not recorded yet" for stream, count in verdict.pending.items()]
    for finding in verdict.findings[:SHOWN]:
        place = f" {finding.stream} {finding.sequence}" if finding.stream else ""
        record = "" if finding.record is None else f" (record {finding.record})"
        lines.append(f"  FAIL {finding.kind}{place}{record}: {finding.detail}")
    more = len(verdict.findings) - SHOWN + verdict.more_findings
    if more > 0:
        lines.append(f"  … and {more} more")
    told = "nothing missing, changed or inserted" if verdict.ok else "the streams are NOT as recorded"
    lines.append(f"{verdict.records} records, {verdict.checkpoints} checkpoints: {told}")
    session.say("\n".join(lines), msgspec.to_builtins(verdict) | {"ok": verdict.ok})
    return 0 if verdict.ok else 2


async def checkpoint(session: Session, out: Path | None) -> int:
    """The last checkpoint: for a witness to keep. What the log holds beyond it is told."""
    trust = load_trust(session.layout)
    async with session.connected(offline=True) as transport:
        note = await last_checkpoint(transport, session.workspace)
        records = (await read_log(transport, session.workspace)).chain.size
    if note is None:
        raise UserError("no_checkpoint", "the log has no checkpoint yet", "One follows the first goal", 2)
    size = _opened(note, trust, session.workspace).size
    if out is not None:
        _write(out, note)
    if size < records and not session.json:
        sys.stderr.write(
            f"{records - size} of {records} records came later: the next checkpoint of a running auditor has them\n"
        )
    value = {"checkpoint": note.decode(), "size": size, "records": records}
    session.say(str(out) if out else note.decode().rstrip("\n"), value)
    return 0


async def prove(session: Session, name: str, out: Path | None) -> int:
    """name: a record's number, STREAM:SEQUENCE, or the id of an envelope."""
    trust = load_trust(session.layout)
    async with session.connected(offline=True) as transport:
        stored = await read_log(transport, session.workspace)
        note = await last_checkpoint(transport, session.workspace)
        digest = await _digest_of(transport, session.workspace, name)
    if note is None:
        raise UserError("no_checkpoint", "the log has no checkpoint yet", "One follows the first goal", 2)
    signed = _opened(note, trust, session.workspace)
    found = [
        record
        for record in stored.records
        if name in (str(record.number), f"{record.stream}:{record.sequence}")
        or (digest and record.stream == "HOPS" and record.digest == digest)
    ]
    if not found:
        raise UserError("unknown_record", f"there is no record {name[:80]!r}", "Number, STREAM:SEQUENCE or hop id", 2)
    number = found[0].number
    if number >= signed.size or stored.broken is not None:
        raise UserError("not_signed_yet", f"record {number} is in no checkpoint yet", "Try again in 10 s", 1)
    store = session.layout.trust.read_text()
    proof = make_proof(session.workspace, stored.lines, number, note.decode(), signed.size, store)
    path = out or Path(f"proof-{session.workspace}-{number}.json")
    _write(path, msgspec.json.format(msgspec.json.encode(proof), indent=2) + b"\n")
    session.say(f"{path}: record {number} of {signed.size}", {"proof": str(path), "record": told(found[0])})
    return 0


async def prove_since(session: Session, kept: Path, out: Path | None) -> int:
    """That the last checkpoint's log goes on from the one whose checkpoint was kept. Exit 2 if it does not."""
    trust = load_trust(session.layout)
    older_note = read_file(kept, MAX_NOTE_BYTES)
    older = _opened(older_note, trust, session.workspace, f"{kept}: ")
    async with session.connected(offline=True) as transport:
        stored = await read_log(transport, session.workspace)
        note = await last_checkpoint(transport, session.workspace)
    if note is None:
        raise UserError("no_checkpoint", "the log has no checkpoint", "`interlock audit check` looks into it", 2)
    newer = _opened(note, trust, session.workspace)
    if not 0 < older.size <= newer.size <= len(stored.lines):
        detail = (
            f"{kept} speaks of {older.size} records, the last checkpoint of {newer.size}, {len(stored.lines)} are there"
        )
        raise UserError("truncated", detail, "`interlock audit check --witness` looks into it", 2)
    ends = (older_note.decode(), older.size), (note.decode(), newer.size)
    proof = make_continuation(session.workspace, stored.lines, *ends, session.layout.trust.read_text())
    data = msgspec.json.format(msgspec.json.encode(proof), indent=2) + b"\n"
    try:
        verify_continuation(data, load_roots(session.layout))
    except ProofRefused as error:
        raise UserError("forked", str(error), "`interlock audit check --witness` looks into it", 2) from error
    path = out or Path(f"proof-{session.workspace}-{older.size}-{newer.size}.json")
    _write(path, data)
    value = {"proof": str(path), "older": older.size, "newer": newer.size}
    session.say(f"{path}: the log of {newer.size} records goes on from that of {older.size}", value)
    return 0


def _opened(note: bytes, trust: Trust, workspace: str, where: str = "") -> Checkpoint:
    try:
        return open_checkpoint(note, auditors(trust), origin_of(workspace))
    except CheckpointError as error:
        raise UserError(error.reason, f"{where}{error}", "`interlock audit check` looks into it", 2) from error


def verify_proof_file(session: Session, path: Path, data: bytes, roots: Sequence[str]) -> int:
    """What `audit verify` does with a proof. Exit 0 proven, 2 not."""
    if not roots and not session.layout.roots.exists():
        raise UserError(
            "no_roots", f"{path}: whose log is it", "Give --root KEY: the workspace's `roots.json` has it", 2
        )
    try:
        if is_continuation(data):
            older, newer = verify_continuation(data, roots or load_roots(session.layout))
            said = f"{path}: valid, the log of {newer.size} records goes on from that of {older.size}"
            session.say(said, {"valid": True, "older": older.size, "newer": newer.size})
            return 0
        record, size = verify_proof(data, roots or load_roots(session.layout))
    except ProofRefused as error:
        hint = "; a bundle is gzip, as `audit bundle` writes it" if error.reason == "malformed" else ""
        session.say(
            f"  FAIL {error.reason}: {error}\n{path}: INVALID as a proof{hint}",
            {"valid": False, "reason": error.reason, "detail": str(error)},
        )
        return 2
    lines = [f"  {name}: {value}" for name, value in told(record).items()]
    lines.append(f"{path}: valid, one of {size} records of a signed log")
    session.say("\n".join(lines), {"valid": True, "record": told(record), "size": size})
    return 0


async def _digest_of(transport: Transport, workspace: str, name: str) -> str:
    """Of the envelope with this id; empty if there is none."""
    if not is_uuid7(name):
        return ""
    async with aclosing(transport.read(HOPS.name, [workspace_subject(workspace, "role", ">")])) as messages:
        async for message in messages:
            if message.headers.get(MESSAGE_ID) == name:
                return sha256_hex(message.data)
    return ""


def _known(session: Session, witness: Path | None, trust: Trust) -> Checkpoint | None:
    """The checkpoint of the witness, else the auditor's own memory if it is here."""
    path = witness or session.checkpoint
    if witness is None and not path.exists():
        return None
    note = read_file(path, MAX_NOTE_BYTES)
    try:
        return open_checkpoint(note, auditors(trust), origin_of(session.workspace))
    except CheckpointError as error:
        raise UserError(error.reason, f"{path}: {error}", "Name a checkpoint of this log", 2) from error


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UserError("not_writable", f"{path}: {error.strerror}", "Choose another file with -o") from error
