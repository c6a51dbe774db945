"""`interlock audit bundle` and `interlock audit verify`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from interlock.agents.cli.session import Session, find_goal
from interlock.agents.workspace.files import read_file
from interlock.agents.workspace.keys import load_roots, load_trust


async def write_bundle(session: Session, name: str, key: str, out: Path | None) -> int:
    from interlock.agents.audit.bundle import make_bundle
    from interlock.agents.contract.store import load_contract

    load_trust(session.layout)
    uri = key or f"file:{session.layout.keys / 'auditor.nk'}"
    async with session.connected(offline=True) as transport:
        status = await find_goal(transport, session.workspace, name)
        path = await make_bundle(
            transport,
            session.workspace,
            status.goal_id,
            trust=session.layout.trust.read_bytes(),
            roots=load_roots(session.layout),
            contract=[version.data for version in load_contract(session.layout).versions],
            key_uri=uri,
            out=out,
            limits=session.settings.hops.limits,
        )
    session.say(str(path), {"bundle": str(path)})
    return 0


def verify_file(session: Session, path: Path, roots: Sequence[str]) -> int:
    """A bundle, or the proof of a record. Roots: given, else those of this workspace if it has any, else the bundle's
    own.
    """
    from interlock.agents.audit.verify_bundle import MAX_BYTES, verify_bundle

    data = read_file(path, MAX_BYTES, exit_code=1)
    if data.lstrip()[:1] == b"{":
        from interlock.agents.cli.audit_log import verify_proof_file

        return verify_proof_file(session, path, data, roots)
    pinned = list(roots) or (load_roots(session.layout) if session.layout.roots.exists() else [])
    verdict = verify_bundle(data, pinned)
    lines = [f"  {'ok  ' if check.ok else 'FAIL'} {check.name}: {check.detail}" for check in verdict.checks]
    summary = "valid" if verdict.valid else "INVALID"
    if verdict.valid and not verdict.pinned:
        summary += ", as far as the bundle itself is trusted: give --root"
    if verdict.valid and not verdict.logged:
        summary += "; the audit log does not prove it (see log)"
    session.say("\n".join([*lines, f"{path}: {summary}"]), msgspec.to_builtins(verdict))
    return 0 if verdict.valid else 2
