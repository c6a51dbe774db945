"""What a goal's tasks say, read for the decision log. Pure."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from interlock.agents.blueprints.ports import Ended
from interlock.envelope.verdict import Decision as Verdicts
from interlock.envelope.verdict import Verdict
from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.cluster.errors import Changed
from interlock.skills.infrastructure.decision.model import Decision
from interlock.skills.infrastructure.decision.record import ExecutionPart, Final, GovernanceCheck, GovernanceStatus
from interlock.skills.infrastructure.governing import action_digest
from interlock.skills.infrastructure.operations import Operation
from interlock.skills.infrastructure.through_helm import through_helm

_GOVERNED: dict[Verdicts, GovernanceStatus] = {
    Verdicts.ALLOW: "allowed",
    Verdicts.NEEDS_APPROVAL: "requires_approval",
    Verdicts.DENY: "forbidden",
}
_ASKED = ("approval_denied", "approval_timed_out")


class Executed(Struct, frozen=True, kw_only=True):
    """final: None while it has still to be verified. undo: what was changed and what was there before. may_repeat: the
    object had changed meanwhile, so that the next look may decide the same again.
    """

    part: ExecutionPart | None
    final: Final | None
    undo: dict[str, Any]
    told: str
    may_repeat: bool = True


class Checked(Struct, frozen=True, kw_only=True):
    """What the verification came to."""

    final: Final
    met: bool
    rationale: str
    figures: dict[str, int]


def governance_check(name: str, verdict: Verdict) -> GovernanceCheck:
    """The verdict as the log has it."""
    return GovernanceCheck(operation=name, status=_GOVERNED[verdict.decision], rule=verdict.grounds[0].rule)


def executed(ended: Ended, blueprint: Blueprint, decision: Decision) -> Executed:
    """What came of an action's goal. A goal that ended without its last task did nothing; a task that ended otherwise
    than with an answer may have. A goal whose record names another decision or another operation is not believed. Raises
    ValueError for a decision that does nothing.
    """
    operation, result = decision.operation, ended.results.get("execute")
    if operation is None:
        raise ValueError("a goal was handed in for nothing")
    expected = (decision.id, action_digest(through_helm(blueprint, operation)))
    if result is not None and (_said(ended, "decide", "id"), _said(ended, "govern", "actionDigest")) != expected:
        part = _part(operation, "unknown", result.usage.wall_ms, "the goal decided something else than its watcher")
        return Executed(part=part, final="unknown", undo={}, told=part.detail)
    told = "; ".join(ground.message for ground in ended.status.grounds)[:500]
    if result is None:
        asked = any(ground.code in _ASKED for ground in ended.status.grounds)
        return Executed(part=None, final="rejected" if asked else "blocked", undo={}, told=told, may_repeat=False)
    if result.outcome != "done":
        part = _part(operation, "unknown", result.usage.wall_ms, f"{result.outcome}: {result.detail}")
        return Executed(part=part, final="unknown", undo={}, told=part.detail)
    output = result.output
    status, detail = str(output["status"]), str(output["detail"])
    took_ms, undo = int(output["durationMs"]), dict(output["undo"])
    if status == "done":
        return Executed(part=_part(operation, "success", took_ms, detail), final=None, undo=undo, told=detail)
    if status == "dry_run":
        return Executed(part=_part(operation, "dry_run", took_ms, detail), final="shadow", undo={}, told=detail)
    if status == "rolled_back":
        return Executed(part=_part(operation, "failed", took_ms, detail), final="rolled_back", undo={}, told=detail)
    if status == "refused":
        part = _part(operation, "refused", took_ms, detail)
        may_repeat = output["reason"] == Changed.code
        return Executed(part=part, final="blocked", undo={}, told=detail, may_repeat=may_repeat)
    return Executed(part=_part(operation, "unknown", took_ms, detail), final="unknown", undo={}, told=detail)


def checked(ended: Ended) -> Checked:
    """What came of a verification's goal. Without an answer nothing is verified."""
    verify, undo = ended.results.get("verify"), ended.results.get("undo")
    if verify is None or verify.outcome != "done":
        told = verify.detail if verify is not None else "; ".join(ground.message for ground in ended.status.grounds)
        return Checked(final="unknown", met=False, rationale=f"Nothing was verified: {told[:500]}", figures={})
    met, rationale = bool(verify.output["met"]), str(verify.output["rationale"])
    figures = {str(name): int(value) for name, value in verify.output["figures"].items()}
    if met:
        return Checked(final="success", met=True, rationale=rationale, figures=figures)
    if undo is None or undo.outcome != "done":
        return Checked(final="unknown", met=False, rationale=f"{rationale} It was not taken back.", figures=figures)
    status, detail = str(undo.output["status"]), str(undo.output["detail"])
    final: Final = "rolled_back" if status == "rolled_back" else "unknown"
    return Checked(final=final, met=False, rationale=f"{rationale} {detail}", figures=figures)


def _said(ended: Ended, task: str, field: str) -> object:
    result = ended.results.get(task)
    return None if result is None else result.output.get(field)


def _part(
    operation: Operation, status: Literal["success", "failed", "unknown", "refused", "dry_run"], ms: int, detail: str
) -> ExecutionPart:
    return ExecutionPart(operation=operation, status=status, duration_ms=ms, detail=detail[:1000])
