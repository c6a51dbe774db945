"""Whether an operation did what was wanted of it."""

from __future__ import annotations

from typing import Any

from interlock.skills.infrastructure.handing_on import BLUEPRINT, Governed, convert, take
from interlock.skills.infrastructure.observed import ObservedState
from interlock.skills.infrastructure.operations import Operation
from interlock.skills.infrastructure.verifying import verify
from interlock.skills.repository.findings import told
from interlock.skills.sdk import Task


def run(task: Task) -> dict[str, Any]:
    blueprint = take(task.files, BLUEPRINT, Governed).blueprint
    operation: Operation = convert(task.input["operation"], "operation", Operation)  # type: ignore[arg-type]
    before = convert(task.input["before"], "before", ObservedState)
    after = convert(task.input["after"], "after", ObservedState)
    verified = verify(blueprint, operation, before, after, task.input["nowMs"])
    return {
        "met": verified.met,
        "rationale": verified.rationale[:4000],
        "figures": verified.figures,
        "references": [miss.reference for miss in verified.misses],
        **told([]),
    }
