"""The goals of the loop, as anybody could hand them in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from interlock.agents.blueprints.watched import Pending
from interlock.envelope.amounts import timestamp
from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.decision.history import History
from interlock.skills.infrastructure.decision.model import Decision
from interlock.skills.infrastructure.decision.safety import Breaker
from interlock.skills.infrastructure.governing import action_digest
from interlock.skills.infrastructure.observed import ObservedState
from interlock.skills.infrastructure.telling import summary
from interlock.skills.infrastructure.through_helm import through_helm

_SLACK_MS = 60_000
# A goal's deadline is at most an hour ahead when the gateway reads it.
_LONGEST_MS = 3_570_000
_BUDGET = {"costUSD": "0.10", "wallMs": 300_000, "actions": 16}


def action_goal(
    blueprint: Blueprint,
    decision: Decision,
    *,
    handed_in: dict[str, str],
    state: ObservedState,
    history: History,
    fleet: Breaker,
    cluster: Path,
    needs_approval: bool,
    dry_run: bool,
    log: dict[str, object],
    wall_ms: int,
) -> dict[str, Any]:
    """Do what was decided. wall_ms: the machine's time, which the approval's deadline counts from."""
    if decision.operation is None:
        raise ValueError("nothing was decided to be done")
    goal = _goal(blueprint, summary(decision.operation), "the operation is done and nothing else")
    goal |= {
        "playbook": "blueprint-approved-action" if needs_approval else "blueprint-action",
        "inputs": {
            "blueprint": handed_in,
            "look": {
                "state": msgspec.to_builtins(state),
                "history": msgspec.to_builtins(history),
                "fleet": msgspec.to_builtins(fleet),
                "nowMs": decision.at_ms,
            },
            "cluster": str(cluster),
            "dryRun": dry_run,
            "expected": action_digest(through_helm(blueprint, decision.operation)),
            "log": log,
        },
    }
    if needs_approval:
        within_ms = min(blueprint.governance.approval_timeout_ms + _SLACK_MS, _LONGEST_MS)
        goal["deadline"] = timestamp(wall_ms + within_ms)
    return goal


def verification_goal(
    blueprint: Blueprint,
    pending: Pending,
    *,
    handed_in: dict[str, str],
    after: ObservedState,
    cluster: Path,
    log: dict[str, object],
    now_ms: int,
) -> dict[str, Any]:
    """See what came of it, and take it back if it is not what was wanted."""
    told = summary(pending.execution.operation)
    goal = _goal(blueprint, f"verify: {told}", "the targets are met, or the object is as before")
    return goal | {
        "playbook": "blueprint-verification",
        "inputs": {
            "blueprint": handed_in,
            "verification": {
                "operation": msgspec.to_builtins(pending.execution.operation),
                "before": msgspec.to_builtins(pending.before),
                "after": msgspec.to_builtins(after),
                "nowMs": now_ms,
            },
            "undo": pending.undo,
            "cluster": str(cluster),
            "log": log,
        },
    }


def _goal(blueprint: Blueprint, what: str, success: str) -> dict[str, Any]:
    return {
        "goal": what[:1].upper() + what[1:],
        "constraints": [f"blueprint {blueprint.name} {blueprint.version}, {blueprint.digest[:12]}"],
        "stakeholders": [{"name": blueprint.owner or "operators", "role": "owner"}],
        "success_metrics": [success],
        "budget_limits": dict(_BUDGET),
    }
