"""The verdict on one decided operation."""

from __future__ import annotations

from typing import Any

from interlock.envelope.verdict import Decision
from interlock.skills.infrastructure.governing import action_digest, govern_operation
from interlock.skills.infrastructure.handing_on import BLUEPRINT, DECISION, Decided, Governed, take
from interlock.skills.infrastructure.operations import operation_name
from interlock.skills.infrastructure.telling import summary
from interlock.skills.infrastructure.through_helm import through_helm
from interlock.skills.repository.findings import Finding, told
from interlock.skills.sdk import Task


def run(task: Task) -> dict[str, Any]:
    governed = take(task.files, BLUEPRINT, Governed)
    decided = take(task.files, DECISION, Decided)
    expected = str(task.input.get("expected", ""))
    if decided.decision.operation is None:
        nothing = dict.fromkeys(("operation", "code", "rule", "message", "instead", "summary", "actionDigest"), "")
        return {**nothing, "verdict": "not_needed", **told(_otherwise(expected, "", "nothing"))}
    operation = through_helm(governed.blueprint, decided.decision.operation)
    verdict = govern_operation(governed.blueprint, operation, decided.state, governed.policies)
    ground = verdict.grounds[0]
    digest = action_digest(operation)
    findings = _otherwise(expected, digest, summary(operation))
    if verdict.decision is Decision.DENY:
        message = f"{ground.message} ({ground.rule})" + (f"; instead: {ground.instead}" if ground.instead else "")
        findings.append(Finding(ground.code.replace("_", "-"), "high", message, blocks=True))
    return {
        "operation": operation_name(operation, governed.blueprint.scaling, decided.state),
        "verdict": verdict.decision.value,
        "code": ground.code,
        "rule": ground.rule,
        "message": ground.message,
        "instead": ground.instead,
        "summary": summary(operation),
        "actionDigest": digest,
        **told(findings),
    }


def _otherwise(expected: str, digest: str, what: str) -> list[Finding]:
    """Whoever asks decided by the same inputs: that both agree is checked before anything is done."""
    if not expected or expected == digest:
        return []
    message = f"{what} is decided here, and something else (digest {expected[:12]}) by whoever asked"
    return [Finding("decided-otherwise", "high", message, blocks=True)]
