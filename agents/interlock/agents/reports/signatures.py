"""Signatures of a period (AUD-05; seed 004, §2.4): the sums of its goals' signature logs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from interlock.agents.reports.facts import GoalFacts
from interlock.agents.reports.periods import Period


def signature_report(workspace: str, period: Period, goals: Sequence[GoalFacts]) -> dict[str, Any]:
    """JSON-ready. Failed: hops that name a trusted key and do not verify; what strangers sent is counted apart and was
    refused.
    """
    verified, failed = sum(goal.verified for goal in goals), sum(goal.failed for goal in goals)
    rate = rate_per_mille(goals)
    return {
        "kind": "signatures",
        "version": 1,
        "workspace": workspace,
        "period": period.name,
        "summary": {
            "goals": len(goals),
            "operations": verified + failed,
            "signaturesVerified": verified,
            "signaturesFailed": failed,
            "refusedOfStrangers": sum(goal.strangers for goal in goals),
            "verificationRatePerMille": rate,
            "status": "PASS" if rate == 1000 and not any(goal.truncated for goal in goals) else "FAIL",
        },
        "goals": [
            {
                "goal": goal.goal_id,
                "hops": goal.hops,
                "verified": goal.verified,
                "failed": goal.failed,
                "log": f"signatures-{workspace}-{goal.goal_id}.json",
            }
            for goal in goals
        ],
        "alerts": [
            {"code": "signature_failed", "text": f"goal {goal.goal_id}: {goal.failed} hops do not verify"}
            for goal in goals
            if goal.failed
        ],
    }


def rate_per_mille(goals: Sequence[GoalFacts]) -> int:
    """1000 only if every one verifies; without any hop there is none that does not."""
    verified, failed = sum(goal.verified for goal in goals), sum(goal.failed for goal in goals)
    return 1000 if not failed else verified * 1000 // (verified + failed)
