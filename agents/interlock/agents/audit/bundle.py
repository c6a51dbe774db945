"""The bundle of a goal: everything needed to prove offline what happened (AUD-02). Format: docs/bundle-format.md.

gzip (packing.py) of one canonical JSON object {manifest, sections, signature}: the manifest lists the SHA-256 of every section's
canonical bytes, and the signature covers the manifest.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec

from interlock.agents.audit.auditor import BUNDLES, goal_messages, is_truncated
from interlock.agents.audit.log.collecting import log_section
from interlock.agents.audit.packing import PackingError, packed
from interlock.agents.audit.verify_bundle import VERSION
from interlock.agents.errors import UserError
from interlock.agents.kms import Signer, open_signer
from interlock.agents.status import read_audit, read_status
from interlock.agents.workspace.config_dir import config_dir
from interlock.bus.errors import NotFound
from interlock.bus.journal import journal_subject, read_journal
from interlock.bus.redriving import REDRIVE, is_redriven
from interlock.bus.streams import DEAD, JOURNAL, LEDGER
from interlock.bus.transport import MESSAGE_ID, Message, Transport
from interlock.envelope.amounts import timestamp
from interlock.envelope.canonical import canonical
from interlock.envelope.ids import sha256_hex
from interlock.envelope.keys import base64url
from interlock.envelope.model import Envelope
from interlock.envelope.payloads import ApprovalRequest, AuditReport, Completion, KnowledgePack, Task, TaskResult
from interlock.envelope.signing import BUNDLE_DOMAIN, pre_auth
from interlock.envelope.subjects import workspace_subject
from interlock.envelope.trust import TrustError, load
from interlock.envelope.verification import Limits, decode

EFFECTS_AT_ONCE = 200


async def make_bundle(
    transport: Transport,
    workspace: str,
    goal_id: str,
    *,
    trust: bytes,
    roots: Sequence[str],
    contract: Sequence[bytes] = (),
    key_uri: str,
    out: Path | None,
    limits: Limits | None = None,
) -> Path:
    """Collects, assembles, signs and writes. out: a file, or None for audit/<date>/bundle-<workspace>-<goal>.json.gz.
    contract: every version of the workspace's contract, oldest first; none where goals move without one.
    limits: those the workspace verifies hops with, so that the verifier judges by the same. Raises UserError.
    """
    status = await read_status(transport, workspace, goal_id)
    hops = await goal_messages(transport, workspace, goal_id)
    if status is None or not hops:
        raise UserError("unknown_goal", f"there is no goal {goal_id}", "`interlock goals` lists them", 2)
    if is_truncated(hops):
        detail = f"goal {goal_id} has more than {len(hops)} hops"
        raise UserError("too_many_hops", detail, "Only roles may publish to role.>; see `interlock audit` reports", 2)
    if status.phase != "ended":
        raise UserError("goal_runs", f"goal {goal_id} has not ended", "`interlock watch` waits for its end", 2)
    signer, bounds = open_signer(key_uri), limits or Limits()
    sections: dict[str, Any] = {
        "goal": {
            "workspace": workspace,
            "goalId": goal_id,
            "status": msgspec.to_builtins(status),
            "limits": msgspec.to_builtins(bounds),
        },
        "trust": {"store": trust.decode(), "roots": list(roots)},
        "contract": [version.decode() for version in contract],
        "hops": [_message(hop) for hop in hops],
        "journal": [
            _text(record) for record in (await read_journal(transport, journal_subject(workspace, "goal", goal_id)))[0]
        ],
        "effects": [_text(record) async for record in _effects(transport, workspace, hops, bounds)],
        "ledger": [_text(entry) for entry in await _ledger(transport, workspace, goal_id)],
        "deadLetters": await _dead(transport, workspace, goal_id),
        "artefacts": _artefacts(hops, bounds),
        "signatures": await _signatures(transport, workspace, goal_id),
        "config": _config(),
        "log": await _log(transport, workspace, goal_id, trust, roots, hops, bounds),
    }
    now_ms = transport.clock.now_ms()
    data = assemble(sections, signer, timestamp(now_ms))
    name = f"bundle-{workspace}-{goal_id}.json.gz"
    path = out or Path("audit") / timestamp(now_ms)[:10] / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise UserError("not_writable", f"{path}: {error.strerror}", "Choose another file with -o") from error
    return path


def assemble(sections: dict[str, Any], signer: Signer, made_at: str) -> bytes:
    """The bytes of the bundle. Pure; the same arguments give the same bytes. Raises UserError."""
    manifest = {
        "bundleVersion": VERSION,
        "madeAt": made_at,
        "scheme": signer.scheme,
        "keyId": signer.key_id,
        "publicKey": signer.public_key,
        "sections": {name: sha256_hex(canonical(value)) for name, value in sections.items()},
    }
    signature = base64url(signer.sign(pre_auth(BUNDLE_DOMAIN, canonical(manifest))))
    try:
        return packed(canonical({"manifest": manifest, "sections": sections, "signature": signature}))
    except PackingError as error:
        raise UserError("too_large", f"the bundle is too large: {error}", "Split the goal into smaller ones") from error


def _message(message: Message) -> dict[str, Any]:
    try:
        wire, encoding = message.data.decode(), "utf-8"
    except UnicodeDecodeError:
        wire, encoding = base64.b64encode(message.data).decode(), "base64"
    return {
        "sequence": message.sequence,
        "subject": message.subject,
        "storedMs": message.stored_ms,
        "messageId": message.headers.get(MESSAGE_ID, ""),
        "encoding": encoding,
        "wire": wire,
        **({"redrive": message.headers[REDRIVE]} if is_redriven(message) else {}),
    }


def _text(message: Message) -> dict[str, Any]:
    return {"sequence": message.sequence, "subject": message.subject, "text": message.data.decode(errors="replace")}


async def _effects(
    transport: Transport, workspace: str, hops: Sequence[Message], limits: Limits
) -> AsyncIterator[Message]:
    """The effect journals of the goal's tasks: what was intended, what came of it, which approvals it used up."""
    envelopes = (decode(hop.data, limits).envelope for hop in hops)
    ids = [name for envelope in envelopes if envelope is not None for name in _journals_of(envelope)]
    for start in range(0, len(ids), EFFECTS_AT_ONCE):
        subjects = [journal_subject(workspace, "effect", name) for name in ids[start : start + EFFECTS_AT_ONCE]]
        async with aclosing(transport.read(JOURNAL.name, subjects)) as records:
            async for record in records:
                yield record


def _journals_of(envelope: Envelope) -> list[str]:
    if isinstance(envelope.payload, ApprovalRequest):
        return [envelope.payload.approval_id]
    return [envelope.id] if isinstance(envelope.payload, Task) else []


def _artefacts(hops: Sequence[Message], limits: Limits) -> list[dict[str, Any]]:
    """Every file the goal's envelopes speak of, once, by digest and name."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for hop in hops:
        envelope = decode(hop.data, limits).envelope
        payload = envelope.payload if envelope is not None else None
        files = payload.files if isinstance(payload, AuditReport | KnowledgePack | Task | TaskResult) else []
        sealed = [payload.deliverable] if isinstance(payload, TaskResult) and payload.deliverable else []
        found |= {(file.digest, file.name): msgspec.to_builtins(file) for file in [*files, *sealed]}
    return [found[key] for key in sorted(found)]


async def _ledger(transport: Transport, workspace: str, goal_id: str) -> list[Message]:
    async with aclosing(
        transport.read(LEDGER.name, [workspace_subject(workspace, "ledger", "goal", goal_id)])
    ) as entries:
        return [entry async for entry in entries]


async def _dead(transport: Transport, workspace: str, goal_id: str) -> list[dict[str, Any]]:
    async with aclosing(transport.read(DEAD.name, [workspace_subject(workspace, "dead", ">")])) as letters:
        return [_text(letter) async for letter in letters if goal_id.encode() in letter.data]


async def _signatures(transport: Transport, workspace: str, goal_id: str) -> Any:
    status = await read_audit(transport, workspace, goal_id)
    if status is None or not status.log:
        return None
    try:
        return msgspec.json.decode(await transport.get_object(BUNDLES, status.log))
    except NotFound:
        return None


async def _log(
    transport: Transport,
    workspace: str,
    goal_id: str,
    store: bytes,
    roots: Sequence[str],
    hops: Sequence[Message],
    limits: Limits,
) -> Any:
    """The goal's records in the audit log, proven; None where no checkpoint covers the goal up to its completion."""
    try:
        trust = load(store, roots)
    except TrustError as error:
        raise UserError(error.reason, str(error), "Restore the trust store", 2) from error
    envelopes = ((hop.sequence, decode(hop.data, limits).envelope) for hop in hops)
    ends = [sequence for sequence, one in envelopes if one is not None and isinstance(one.payload, Completion)]
    section = await log_section(transport, workspace, goal_id, trust, ends[0] if ends else hops[-1].sequence)
    return None if section is None else msgspec.to_builtins(section)


def _config() -> dict[str, str]:
    """Digests of the configuration in force."""
    root = config_dir()
    return {path.relative_to(root).as_posix(): sha256_hex(path.read_bytes()) for path in sorted(root.rglob("*.yaml"))}
