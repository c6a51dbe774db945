"""A blueprint from its text, or every problem of it as a finding."""

from __future__ import annotations

from typing import Any

from interlock.skills.infrastructure.blueprint.policies import read_policies
from interlock.skills.infrastructure.blueprint.reading import read_blueprint
from interlock.skills.infrastructure.handing_on import BLUEPRINT, Governed, put
from interlock.skills.repository.findings import Finding, told
from interlock.skills.sdk import Task

MAX_TOLD = 50


def run(task: Task) -> dict[str, Any]:
    source, beside = str(task.input["source"]), str(task.input.get("policies", ""))
    reading = read_blueprint(task.input["text"], source=source)
    policies = read_policies(beside, source="governance/policies.yaml") if beside else None
    lines = [*reading.told(), *(policies.told() if policies is not None else [])]
    findings = [
        Finding(f"problem-{number}", "high", line[:1000], blocks=True)
        for number, line in enumerate(lines[:MAX_TOLD], 1)
    ]
    blueprint = reading.blueprint
    if blueprint is None or lines:
        return {"name": "", "version": "", "digest": "", **told(findings)}
    put(
        task.out, BLUEPRINT, Governed(blueprint=blueprint, policies=policies.policies if policies is not None else None)
    )
    return {"name": blueprint.name, "version": blueprint.version, "digest": blueprint.digest, **told(findings)}
