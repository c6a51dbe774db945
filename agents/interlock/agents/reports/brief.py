"""The readiness brief over the first goals of a workspace (AUD-08; seed 004, §4). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from interlock.agents.reports.attestation import DETERMINISM_PER_MILLE
from interlock.agents.reports.facts import GoalFacts
from interlock.agents.reports.periods import Period
from interlock.agents.reports.signatures import rate_per_mille
from interlock.envelope.amounts import usd_text


def readiness_brief(workspace: str, period: Period, goals: Sequence[GoalFacts], wanted: int) -> dict[str, Any]:
    """JSON-ready; goals: the first `wanted` that ended, or as many as there are. Ready only if nothing speaks against it."""
    released = [goal for goal in goals if goal.outcome == "released"]
    failed = [goal for goal in goals if goal.outcome == "failed"]
    attempts = [task.attempt for goal in goals for task in goal.tasks]
    costs = [goal.usd_micro for goal in goals]
    half = len(costs) // 2
    early, late = sum(costs[:half]), sum(costs[-half:]) if half else 0
    asked = [goal.replayed for goal in goals if goal.replayed is not None]
    decisions, equal = sum(one.decisions for one in asked), sum(one.equal for one in asked)
    rate = equal * 1000 // decisions if decisions else 0
    against = [
        *([f"only {len(goals)} of {wanted} goals have ended"] if len(goals) < wanted else []),
        *([f"{len(failed)} goals failed"] if failed else []),
        *(["signatures do not all verify"] if rate_per_mille(goals) < 1000 else []),
        *([f"goal {goal.goal_id} cost more than its budget" for goal in goals if goal.usd_micro > goal.limit_micro]),
        *([f"determinism is {rate} ‰"] if decisions and rate < DETERMINISM_PER_MILLE else []),
        *(["determinism was not measured"] if not decisions else []),
    ]
    return {
        "kind": "brief",
        "version": 1,
        "workspace": workspace,
        "period": period.name,
        "summary": {
            "goals": len(goals),
            "wanted": wanted,
            "ready": not against,
            "recommendation": "go on" if not against else "wait",
        },
        "stability": {
            "released": len(released),
            "blocked": sum(goal.outcome == "blocked" for goal in goals),
            "failed": len(failed),
            "completionPerMille": len(released) * 1000 // len(goals) if goals else 0,
            "tasks": len(attempts),
            "tasksRepeated": sum(attempt > 1 for attempt in attempts),
            "signatureRatePerMille": rate_per_mille(goals),
        },
        "cost": {
            "totalCostUSD": usd_text(sum(costs)),
            "meanCostUSD": usd_text(sum(costs) // len(costs)) if costs else "0",
            "maxCostUSD": usd_text(max(costs, default=0)),
            "highestSharePerMille": max(
                (goal.usd_micro * 1000 // goal.limit_micro for goal in goals if goal.limit_micro), default=0
            ),
            "trend": "increasing" if late > early else "decreasing" if late < early else "stable",
        },
        "determinism": {"decisions": decisions, "equal": equal, "ratePerMille": rate, "goalsReplayed": len(asked)},
        "against": against,
        "alerts": [],
    }
