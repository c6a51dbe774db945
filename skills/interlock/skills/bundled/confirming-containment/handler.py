"""Whether an incident is contained."""

from __future__ import annotations

from typing import Any

from interlock.skills.repository.findings import Finding, told
from interlock.skills.repository.names import one_line
from interlock.skills.sdk import Task


def run(task: Task) -> dict[str, Any]:
    incident = task.input["incident"]
    wanted = one_line(incident.get("halts", ""), 200)
    contained = not wanted or wanted in incident.get("haltsInForce", [])
    findings = []
    if not contained:
        findings.append(Finding("not-contained", "high", f"{wanted} was not halted: `interlock halt {wanted}`"))
    return {"contained": contained, "halts": wanted, **told(findings)}
