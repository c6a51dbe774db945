"""How a goal ended, for people and machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from interlock.agents.artefacts import get_artefact
from interlock.agents.errors import UserError
from interlock.agents.status import AuditStatus, GoalStatus
from interlock.agents.trace.render import visible
from interlock.bus.transport import Transport

MAX_FINDINGS = 20


def exit_code(status: GoalStatus) -> int:
    return {"released": 0, "blocked": 2}.get(status.outcome, 1)


async def fetch_deliverable(transport: Transport, status: GoalStatus, directory: Path) -> Path | None:
    """Writes the goal's deliverable into the directory, if it has one. Raises UserError."""
    if status.deliverable is None:
        return None
    data = await get_artefact(transport, status.deliverable)
    path = directory / status.deliverable.name
    try:
        directory.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise UserError("not_writable", f"{path}: {error.strerror}", "Choose another directory with -o") from error
    return path


def signatures_text(audited: AuditStatus | None) -> str:
    if audited is None:
        return "signatures: the auditor has not reported; ask again with `interlock status`"
    if audited.truncated:
        return f"signatures verified {audited.verified} of more than {audited.hops}: NOT ALL (too_many_hops)"
    if audited.hops and audited.verified == audited.hops:
        return f"all signatures verified {audited.verified}/{audited.hops}"
    return f"signatures verified {audited.verified}/{audited.hops}: NOT ALL"


def report_text(status: GoalStatus, audited: AuditStatus | None, deliverable: Path | None) -> str:
    lines = ["", f"goal {status.goal_id}: {visible(status.goal)}", ""]
    for gate in status.gates:
        lines.append(f"  {gate.gate} {gate.name:<15} {gate.owner:<20} {'passed' if gate.passed else 'FAILED'}")
        lines += [f"       {line}" for line in gate.evidence if not gate.passed and line.startswith("fails")]
    told = status.findings[:MAX_FINDINGS]
    if told:
        lines += ["", f"findings ({len(status.findings)})"]
        lines += [
            f"  {'BLOCKS ' if f.blocks else ''}{f.severity}: {visible(f.message)} {visible(f.file)}" for f in told
        ]
    if status.grounds:
        lines += ["", "grounds", *[f"  {ground.code}: {visible(ground.message)}" for ground in status.grounds]]
        lines += [f"    instead: {visible(ground.instead)}" for ground in status.grounds if ground.instead]
    hops = audited.hops if audited else 0
    lines += [
        "",
        f"verdict: {status.outcome or status.phase}",
        f"cost: {status.cost_usd} USD   carbon: {status.carbon_grams} g CO2   hops: {hops}",
        signatures_text(audited),
    ]
    if audited is not None:
        lines += [f"  refused hop {entry.sequence}: {entry.reason}" for entry in audited.refused[:10]]
    if deliverable is not None:
        lines.append(f"deliverable: {deliverable}")
    return "\n".join(lines)


def report_value(status: GoalStatus, audited: AuditStatus | None, deliverable: Path | None) -> dict[str, Any]:
    return {
        "status": msgspec.to_builtins(status),
        "audit": None if audited is None else msgspec.to_builtins(audited),
        "deliverable": None if deliverable is None else str(deliverable),
    }
