"""What the figures of an incident say."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from interlock.skills.repository.findings import Finding, told
from interlock.skills.repository.names import one_line
from interlock.skills.sdk import SkillError, Task

DIMENSIONS = ("usdMicro", "tokens", "wallMs", "actions")


def run(task: Task) -> dict[str, Any]:
    incident = _incident(task)
    hops = incident.get("hops", [])
    refused = [hop for hop in hops if hop["verdict"] != "ok"]
    budget = incident.get("budget") or {}
    limit, held = budget.get("limit", {}), budget.get("held", {})
    overspent = [name for name in DIMENSIONS if limit.get(name, 0) and held.get(name, 0) >= limit[name]]
    findings = [
        Finding(f"hop-{hop['sequence']}", "high", f"as of {one_line(hop['from'], 80)}: {one_line(hop['verdict'], 80)}")
        for hop in refused
    ]
    findings += [
        Finding(f"used-up-{name}", "medium", f"{held[name]} of {limit[name]} are used or reserved")
        for name in overspent
    ]
    return {
        "agents": dict(sorted(Counter(one_line(hop["from"], 80) for hop in hops).items())),
        "refused": dict(sorted(Counter(one_line(hop["verdict"], 80) for hop in refused).items())),
        "firstRefused": min((hop["sequence"] for hop in refused), default=0),
        "overspent": overspent,
        **told(findings),
    }


def _incident(task: Task) -> dict[str, Any]:
    path = task.files.get("audit_snapshot.json")
    if path is None:
        return dict(task.input["incident"])
    try:
        return dict(json.loads(path.read_bytes())["incident"])
    except (ValueError, KeyError, TypeError) as error:
        raise SkillError(f"audit_snapshot.json is no snapshot: {error}") from error
