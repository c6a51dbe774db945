"""What the orchestrator tells the world of a goal. Pure."""

from __future__ import annotations

from interlock.agents.goal.dispatch import plan_run
from interlock.agents.goal.state import Began, GoalState
from interlock.agents.status import GoalStatus
from interlock.envelope.amounts import time_ms, timestamp, usd_text

# An envelope cannot outlive its parent: the last part of the goal's time is kept for telling how it ended.
CLOSING_MS = 30_000


def deadline_ms(began: Began) -> int:
    """When the goal is ended if it has not ended by itself: the deadline its user gave, else up to 30 s, at most a
    tenth, before its envelopes die.
    """
    if began.intake.deadline is not None:
        return time_ms(began.intake.deadline)
    whole = began.origin.deadline_ms - began.at_ms
    return began.origin.deadline_ms - min(CLOSING_MS, whole // 10)


def status_of(state: GoalState, workspace: str, goal_id: str, now_ms: int) -> GoalStatus | None:
    """None before the goal began."""
    began = state.began
    if began is None:
        return None
    completion = state.completion
    return GoalStatus(
        goal_id=goal_id,
        workspace=workspace,
        goal=began.intake.goal[:200],
        phase=state.phase,
        outcome=completion.outcome if completion else "",
        tasks_total=len(plan_run(state)),
        tasks_done=state.done,
        tasks_failed=len(state.failed),
        running=list(state.running)[:8],
        cost_usd=usd_text(state.spent.usd_micro),
        carbon_grams=usd_text(state.carbon_micro_grams),
        started_at=timestamp(began.at_ms),
        updated_at=timestamp(now_ms),
        deadline=timestamp(deadline_ms(began)),
        grounds=state.grounds[:50],
        gates=state.gates,
        findings=sorted(state.findings, key=lambda finding: not finding.blocks)[:100],
        deliverable=completion.deliverable if completion else None,
    )
