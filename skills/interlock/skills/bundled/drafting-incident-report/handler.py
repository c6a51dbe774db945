"""The report of an incident."""

from __future__ import annotations

from typing import Any

from interlock.skills.release.documents import code, grid, markdown
from interlock.skills.release.documents import told as prose
from interlock.skills.repository.findings import told
from interlock.skills.sdk import Task


def run(task: Task) -> dict[str, Any]:
    incident, found = task.input["incident"], task.input["investigation"]
    contained, mend = task.input["containment"], task.input["remediation"]
    refused = sum(found["refused"].values())
    sections = {
        "Detect": [
            f"- What: {code(incident['kind'])} of {code(incident['about'])}",
            f"- Detail: {prose(incident.get('detail', ''))}",
            f"- Detected at: {code(incident.get('openedAt', ''))}; to be mended by {code(incident.get('deadlineAt', ''))}",
            f"- Evidence: {code(incident.get('evidence', ''))}",
            f"- Snapshot of the audit: sha256 {code(task.input['snapshot']['sha256'])}",
        ],
        "Respond": [_response(contained)],
        "Investigate": [
            *grid(("sender", "hops"), [(code(name), count) for name, count in found["agents"].items()]),
            f"- Hops that do not verify: {refused}" + (f", the first at {found['firstRefused']}" if refused else ""),
            *[f"- {count} times {code(reason)}" for reason, count in found["refused"].items()],
            *[f"- Used up: {code(name)}" for name in found.get("overspent", [])],
        ],
        "Remediate": [f"{number}. {prose(step)}" for number, step in enumerate(mend["steps"], 1)],
        "Communicate": [f"- Tell {prose(name)}" for name in mend["tell"]],
    }
    lines = [f"# Incident {code(incident.get('id', ''))}", "", f"Written at {task.now}.", ""]
    for title, body in sections.items():
        lines += [f"## {title}", "", *body, ""]
    (task.out / "incident_report.md").write_text(markdown(lines), encoding="utf-8")
    return {"sections": list(sections), **told([])}


def _response(contained: dict[str, Any]) -> str:
    if not contained.get("halts"):
        return "- Nothing needed a halt."
    state = "is halted" if contained["contained"] else "is NOT halted"
    return f"- {code(contained['halts'])} {state}"
