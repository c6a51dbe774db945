"""How an incident is mended."""

from __future__ import annotations

from typing import Any

from interlock.bus.yaml12 import load_yaml
from interlock.skills.repository.findings import told
from interlock.skills.repository.names import one_line
from interlock.skills.sdk import SkillError, Task


def run(task: Task) -> dict[str, Any]:
    incident = task.input["incident"]
    known = load_yaml((task.config / "incidents.yaml").read_bytes(), source="incidents.yaml").value["kinds"]
    kind = one_line(incident["kind"], 80)
    if kind not in known:
        raise SkillError(f"incidents.yaml knows no kind {kind!r}; it knows {', '.join(sorted(known))}")
    steps = [one_line(step, 400) for step in known[kind]["remediate"]]
    if task.input.get("contained") is False:
        steps.insert(0, f"Halt {one_line(incident.get('halts', ''), 200)}: it is not halted.")
    return {"steps": steps, "tell": [one_line(name, 200) for name in known[kind]["tell"]], **told([])}
