"""The carbon report (AUD-09): grams of CO2 by goal and skill, with the assumptions they rest on. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from interlock.agents.reports.facts import GoalFacts
from interlock.agents.reports.periods import Period
from interlock.envelope.amounts import usd_text as grams_text  # decimal text of millionths


def carbon_report(
    workspace: str, period: Period, goals: Sequence[GoalFacts], region: str, assumption: str
) -> dict[str, Any]:
    """JSON-ready; grams as decimal strings. region, assumption: of config/prices.yaml, which the runs were priced with."""
    total = sum(goal.carbon_micrograms for goal in goals)
    dirtiest = sorted(goals, key=lambda goal: (-goal.carbon_micrograms, goal.goal_id))[:20]
    return {
        "kind": "carbon",
        "version": 1,
        "workspace": workspace,
        "period": period.name,
        "summary": {
            "goals": len(goals),
            "totalGramsCO2": grams_text(total),
            "meanGramsCO2": grams_text(total // len(goals)) if goals else "0",
            "tasks": sum(len(goal.tasks) for goal in goals),
            "wallMs": sum(goal.wall_ms for goal in goals),
        },
        "method": {"region": region, "assumption": assumption},
        "goals": [
            {"goal": goal.goal_id, "gramsCO2": grams_text(goal.carbon_micrograms), "wallMs": goal.wall_ms}
            for goal in dirtiest
        ],
        "alerts": [],
    }
