"""What the orchestrator tells the world of a goal. Pure."""

from __future__ import annotations

from interlock.agents.goal.approving import waiting_for
from interlock.agents.goal.deadline import deadline_ms
from interlock.agents.goal.dispatch import plan_run
from interlock.agents.goal.state import GoalState
from interlock.agents.status import GoalStatus
from interlock.envelope.amounts import timestamp, usd_text


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
        approvals=[approval.request.approval_id for approval in waiting_for(state)][:8],
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
