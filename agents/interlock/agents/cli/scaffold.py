"""`interlock init`: a workspace to begin with."""

from __future__ import annotations

import shlex
from pathlib import Path

import msgspec

from interlock.agents.contract.generate import ensure_contract
from interlock.agents.errors import UserError
from interlock.agents.workspace.broker import secure
from interlock.agents.workspace.config_dir import config_dir
from interlock.agents.workspace.keys import ensure_keys
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.settings import load_settings
from interlock.bus.permissions import USER_ROLES

SETTINGS = """\
# Settings of this workspace; everything left out has the default of docs/settings.md.
workspace: default
durability: safe
skills: [skills]
"""
GOAL = """\
goal: Greet everybody by name.
constraints: [be polite]
stakeholders: [{name: you, role: owner}]
success_metrics: [everybody is greeted]
budget_limits: {costUSD: "0.10", wallMs: 600000, actions: 100}
inputs:
  names: [Ada, Grace]
tasks:
  - id: greet
    skill: greeting-people
    each: ${inputs.names}
    input: {name: "${item}"}
"""
MANIFEST = """\
---
name: greeting-people
version: 1.0.0
description: Greet a person by name.
input: {type: object, required: [name], properties: {name: {type: string}}}
output: {type: object, required: [greeting], properties: {greeting: {type: string}}}
---
Answer with a greeting for the person.
"""
HANDLER = """\
def run(task):
    return {"greeting": f"Good day, {task.input['name']}!"}
"""


def scaffold(directory: Path, *, secured: bool = False, json: bool = False) -> int:
    """Writes what is missing; overwrites nothing. secured: the broker's users too. Raises UserError."""
    found: dict[str, list[str]] = {"written": [], "kept": []}

    def told(kind: str, *paths: Path, more: str = "") -> None:
        found[kind] += map(str, paths)
        if not json:
            print(f"{kind:7} {', '.join(map(str, paths))}{more}")

    files = {
        "interlock.yaml": SETTINGS,
        "goal.yaml": GOAL,
        "skills/greeting-people/SKILL.md": MANIFEST,
        "skills/greeting-people/handler.py": HANDLER,
        ".gitignore": ".interlock/\nbuild/\n",
    }
    try:
        for name, text in files.items():
            path = directory / name
            if path.exists():
                told("kept", path)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            told("written", path)
    except OSError as error:
        raise UserError("not_writable", f"{directory}: {error.strerror}", "Choose another directory") from error
    layout = Layout(directory.resolve())
    fresh = not layout.trust.exists()
    settings = load_settings(layout.settings)
    ensure_keys(layout, settings.workspace)
    chain = ensure_contract(layout, settings, config_dir())
    told("written" if fresh else "kept", layout.keys, layout.trust)
    version = chain.head.contract.contract_version
    if not json:
        print(f"contract version {version}, {chain.head.contract.lifecycle}: {layout.contracts}")
    if secured:
        secure(layout)
        told(
            "written",
            layout.broker,
            more=f": the broker lets in {len(USER_ROLES)} users, each with its role's permissions",
        )
    if json:
        print(msgspec.json.encode({"directory": str(layout.root), "contractVersion": version, **found}).decode())
    else:
        print(
            "next: "
            + ("" if directory == Path() else f"cd {shlex.quote(str(directory))} && ")
            + "interlock run goal.yaml"
        )
    return 0
