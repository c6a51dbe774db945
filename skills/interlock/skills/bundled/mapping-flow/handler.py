"""Flow matrix (spec_version 3.2) of the plan as it ran."""

from __future__ import annotations

from typing import Any

from interlock.envelope.amounts import usd_text
from interlock.skills.release.documents import json_text
from interlock.skills.repository.findings import told
from interlock.skills.repository.names import one_line
from interlock.skills.sdk import Task

SPEC_VERSION = "3.2"
CONFIDENCE_PER_MILLE = 850
MAX_MATRIX = 200


def run(task: Task) -> dict[str, Any]:
    plan = task.input["plan"]
    names = _instances(plan)
    edges = [(earlier, entry["id"]) for entry in plan for earlier in _after(entry, names)]
    levels = _levels(plan, names)
    nodes = [_node(entry, names) for entry in plan]
    path = _critical_path(plan, names)
    document = {
        "spec_version": SPEC_VERSION,
        "recorded_at": task.now,
        "goal": one_line((task.input.get("goal") or {}).get("goal", ""), 2000),
        "nodes": nodes,
        "edges": [{"from": earlier, "to": later} for earlier, later in edges],
        "levels": levels,
        **_matrix(plan, edges),
        "critical_path": path,
        "then": task.input.get("then", []),
    }
    (task.out / "flow_matrix.json").write_text(json_text(document), encoding="utf-8")
    return {
        "nodes": len(nodes),
        "edges": len(edges),
        "levels": len(levels),
        "criticalPath": path[:100],
        "escalations": sum(1 for node in nodes if "escalation" in node),
        **told([]),
    }


def _instances(plan: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Task ids by the id of their node: a node that fans out runs as `node.0`, `node.1`, …"""
    found: dict[str, list[str]] = {}
    for entry in plan:
        found.setdefault(entry["id"], []).append(entry["id"])
        node, dot, number = entry["id"].rpartition(".")
        if dot and number.isdigit():
            found.setdefault(node, []).append(entry["id"])
    return found


def _after(entry: dict[str, Any], names: dict[str, list[str]]) -> list[str]:
    return [name for node in entry["after"] for name in names.get(node, [])]


def _node(entry: dict[str, Any], names: dict[str, list[str]]) -> dict[str, Any]:
    ended = entry["status"] in ("done", "failed")
    node = {
        "id": entry["id"],
        "skill": entry["skill"],
        "depends_on": _after(entry, names),
        "status": entry["status"] if ended else "open",
    }
    if ended:
        node |= {
            "confidence_per_mille": entry["confidence"],
            "attempts": entry["attempt"],
            "cost_usd": usd_text(entry["costUsdMicro"]),
            "wall_ms": entry["wallMs"],
            "tokens": entry["tokens"],
        }
        reason = _escalation(entry)
        if reason:
            node["escalation"] = {"to": "human", "because": reason}
    return node


def _escalation(entry: dict[str, Any]) -> str:
    if entry["status"] == "failed":
        return one_line(f"the task failed: {entry.get('detail', '')}", 400)
    if entry["confidence"] < CONFIDENCE_PER_MILLE:
        return f"a confidence of {entry['confidence']} of 1000 is below {CONFIDENCE_PER_MILLE}"
    return f"{entry['attempt']} attempts were needed" if entry["attempt"] > 1 else ""


def _levels(plan: list[dict[str, Any]], names: dict[str, list[str]]) -> list[list[str]]:
    """Tasks by how many waits lie before them: those of one level may run at the same time."""
    depth: dict[str, int] = {}
    waiting = list(plan)
    while waiting:
        ready = [entry for entry in waiting if all(name in depth for name in _after(entry, names))]
        if not ready:
            break  # a plan with a cycle does not run; what is left has no level
        for entry in ready:
            depth[entry["id"]] = max((depth[name] + 1 for name in _after(entry, names)), default=0)
        waiting = [entry for entry in waiting if entry["id"] not in depth]
    return [
        [name for name, level in depth.items() if level == wanted]
        for wanted in range(max(depth.values(), default=-1) + 1)
    ]


def _matrix(plan: list[dict[str, Any]], edges: list[tuple[str, str]]) -> dict[str, Any]:
    """Each row waits for the columns where it has a 1. Absent for plans of more than MAX_MATRIX tasks: the edges say
    the same.
    """
    if len(plan) > MAX_MATRIX:
        return {}
    order = [entry["id"] for entry in plan]
    known = set(edges)
    rows = ["".join("1" if (column, row) in known else "0" for column in order) for row in order]
    return {"matrix": {"order": order, "rows": rows}}


def _critical_path(plan: list[dict[str, Any]], names: dict[str, list[str]]) -> list[str]:
    """The chain of dependencies that took the longest."""
    best: dict[str, tuple[int, list[str]]] = {}
    waiting = list(plan)
    while waiting:
        ready = [entry for entry in waiting if all(name in best for name in _after(entry, names))]
        if not ready:
            break
        for entry in ready:
            wall, path = max((best[name] for name in _after(entry, names)), key=lambda found: found[0], default=(0, []))
            best[entry["id"]] = (wall + entry["wallMs"], [*path, entry["id"]])
        waiting = [entry for entry in waiting if entry["id"] not in best]
    return max(best.values(), key=lambda found: found[0], default=(0, []))[1]
