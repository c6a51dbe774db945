"""One decision."""

from __future__ import annotations

from typing import Any

from interlock.skills.infrastructure.decision.decide import decide
from interlock.skills.infrastructure.decision.history import History
from interlock.skills.infrastructure.decision.safety import Breaker
from interlock.skills.infrastructure.handing_on import BLUEPRINT, DECISION, Decided, Governed, convert, put, take
from interlock.skills.infrastructure.observed import ObservedState
from interlock.skills.repository.findings import told
from interlock.skills.sdk import Task


def run(task: Task) -> dict[str, Any]:
    blueprint = take(task.files, BLUEPRINT, Governed).blueprint
    state = convert(task.input["state"], "state", ObservedState)
    history = convert(task.input["history"], "history", History)
    fleet = convert(task.input.get("fleet", {}), "fleet", Breaker)
    decision = decide(blueprint, state, history, task.input["nowMs"], fleet=fleet)
    put(task.out, DECISION, Decided(decision=decision, state=state))
    return {
        "id": decision.id,
        "kind": decision.kind,
        "rationale": decision.rationale[:4000],
        "references": list(decision.references),
        **told([]),
    }
