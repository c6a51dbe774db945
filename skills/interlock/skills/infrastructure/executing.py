"""What the execution skills do: judge once more, do exactly what was governed, or take it back. They trust no earlier task
with more than its file: the verdict is computed anew, and the digest of what is done must be the one that was shown.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from interlock.envelope.verdict import Decision as Verdicts
from interlock.skills.infrastructure.cluster.client import open_cluster
from interlock.skills.infrastructure.cluster.execution import Executor
from interlock.skills.infrastructure.cluster.outcomes import Outcome
from interlock.skills.infrastructure.cluster.patience import Patience
from interlock.skills.infrastructure.cluster.restoring import roll_back
from interlock.skills.infrastructure.governing import ROLL_BACK_RULE, action_digest, govern, govern_operation
from interlock.skills.infrastructure.handing_on import BLUEPRINT, DECISION, Decided, Governed, convert, take
from interlock.skills.infrastructure.operations import Operation
from interlock.skills.infrastructure.telling import summary
from interlock.skills.infrastructure.through_helm import through_helm
from interlock.skills.repository.findings import told
from interlock.skills.sdk import SkillError, Task

KUBECONFIG = "kubeconfig"
ROLL_BACK_MS = 50_000


async def act(task: Task, *, approved: bool) -> dict[str, Any]:
    """Does the decided operation if governance allows it, or, approved, if it may be approved. Raises SkillError."""
    governed = take(task.files, BLUEPRINT, Governed)
    decided = take(task.files, DECISION, Decided)
    if decided.decision.operation is None:
        return _answer("refused", "nothing was decided to be done")
    operation = through_helm(governed.blueprint, decided.decision.operation)
    if summary(operation) != task.input["summary"] or action_digest(operation) != task.input["actionDigest"]:
        raise SkillError("what was governed is not what was decided")
    verdict = govern_operation(governed.blueprint, operation, decided.state, governed.policies)
    may = verdict.allowed or (approved and verdict.decision is Verdicts.NEEDS_APPROVAL)
    if not may:
        ground = verdict.grounds[0]
        return _answer("refused", f"{ground.message} ({ground.rule})")
    began = time.monotonic()
    async with open_cluster(Path(task.input["cluster"]) / KUBECONFIG) as cluster:
        executor = Executor(cluster, proposals=task.out)
        outcome = await executor.execute(operation, dry_run=bool(task.input["dryRun"]))
    return _told(outcome, began, summary(operation))


async def undo(task: Task) -> dict[str, Any]:
    """Takes a done operation back where it was not verified, if the blueprint wants that. Raises SkillError."""
    if task.input["met"]:
        return _answer("not_needed", "the targets are met")
    governed = take(task.files, BLUEPRINT, Governed)
    verdict = govern(governed.blueprint, "roll_back", governed.policies)
    if not governed.blueprint.reliability.rollback_on_failure or verdict.decision is Verdicts.DENY:
        return _answer("refused", f"{ROLL_BACK_RULE} says that it stays as it is")
    outcome = convert(task.input["undo"], "undo", Outcome)
    began = time.monotonic()
    async with open_cluster(Path(task.input["cluster"]) / KUBECONFIG) as cluster:
        back = await roll_back(cluster, outcome, Patience.of(ROLL_BACK_MS))
    return _told(back, began, f"took back: {outcome.target}")


async def happened(task: Task) -> dict[str, Any] | None:
    """Whether an interrupted execution had its effect: None if certainly not. Raises SkillError where nobody can tell."""
    operation: Operation | None = (
        take(task.files, DECISION, Decided).decision.operation if "met" not in task.input else None
    )
    if operation is None:
        raise SkillError("nobody can tell whether it was taken back")
    target = operation.target
    async with open_cluster(Path(task.input["cluster"]) / KUBECONFIG) as cluster:
        live = await cluster.get(target.kind, target.namespace, target.name)
    metadata = live["metadata"]
    if (metadata["uid"], metadata["resourceVersion"]) == (target.uid, target.resource_version):
        return None
    raise SkillError(f"{target} has changed since, and nobody can tell by whom")


def _told(outcome: Outcome, began: float, what: str) -> dict[str, Any]:
    status = "dry_run" if outcome.dry_run and outcome.status == "done" else outcome.status
    detail = f"{what}: {outcome.reason}: {outcome.detail}" if outcome.reason else outcome.detail or what
    undo_of = msgspec.to_builtins(outcome) if status == "done" else {}
    took_ms = int((time.monotonic() - began) * 1000)
    return _answer(status, detail, outcome.reason, took_ms, undo_of, Path(outcome.proposal).name)


def _answer(
    status: str,
    detail: str,
    reason: str = "",
    took_ms: int = 0,
    undo_of: dict[str, Any] | None = None,
    proposal: str = "",
) -> dict[str, Any]:
    return {
        "status": status,
        "reason": reason,
        "detail": detail[:2000],
        "durationMs": took_ms,
        "undo": undo_of or {},
        "proposal": proposal,
        **told([]),
    }
