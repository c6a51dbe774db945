"""Small bundles for tests: a main module around some rules, written to a directory and loaded as any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from interlock.bus.policy.bundle import PolicyBundle, load_bundle

POLICIES = Path(__file__).parents[3] / "config" / "policies"

MAIN = """package interlock.main

import rego.v1

default allow := false

denied := []

grounds := {"denied": denied, "asked": []}
"""

TASK: dict[str, Any] = {
    "hop": {
        "from": "orchestrator",
        "fromRole": "orchestrator",
        "to": ["executor"],
        "intent": "act",
        "payload": "task",
        "riskTier": "minimal",
        "tags": ["data:internal"],
        "confidence": 1000,
    },
    "agent": {"capabilities": [], "trustLevel": 50, "revoked": False},
    "performer": {"capabilities": ["skill:*"], "trustLevel": 50, "revoked": False},
    "budget": {"withinGrant": True, "costUsdAtMost": 1},
    "goal": {"capabilities": ["skill:*"]},
    "rates": {"agentPerMinute": 0, "workspacePerMinute": 0},
    "task": {
        "skill": "resizing-images",
        "capability": "skill:resizing-images",
        "effects": "none",
        "network": False,
        "operation": "task.run",
        "target": "",
        "audited": False,
    },
    "approval": None,
    "model": None,
}


def changed(section: str, **fields: Any) -> dict[str, Any]:
    """An ordinary task with some fields of a section changed."""
    return TASK | {section: TASK[section] | fields}


def written(place: Path, **modules: str) -> Path:
    """A directory of modules by name; main is added unless given."""
    place.mkdir(parents=True, exist_ok=True)
    for name, text in ({"main": MAIN} | modules).items():
        (place / f"{name}.rego").write_text(text)
    return place


def of_main(place: Path, rules: str) -> PolicyBundle:
    """A bundle whose main module is these rules."""
    return load_bundle(written(place, main=f"package interlock.main\n\nimport rego.v1\n\n{rules}\n"))
