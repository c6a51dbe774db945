"""A snapshot of what the audit knew of an incident."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from interlock.skills.repository.findings import Finding, told
from interlock.skills.sdk import Task


def run(task: Task) -> dict[str, Any]:
    incident = task.input["incident"]
    text = json.dumps({"takenAt": task.now, "incident": incident}, indent=2, sort_keys=True, ensure_ascii=False)
    data = f"{text}\n".encode()
    (task.out / "audit_snapshot.json").write_bytes(data)
    checkpoint = bool(incident.get("checkpoint"))
    findings = []
    if not checkpoint:
        findings.append(
            Finding("no-checkpoint", "medium", "the audit log had no signed checkpoint when this was taken")
        )
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "hops": len(incident.get("hops", [])),
        "checkpoint": checkpoint,
        **told(findings),
    }
