"""The compliance check (AUD-12, GOV-12): each duty of the EU AI Act that applies, and the evidence in the log. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from interlock.agents.reports.facts import GoalFacts
from interlock.agents.reports.periods import Period
from interlock.skills.release.ai_act import Act, Duty

Status = Literal["met", "not_met", "open", "not_applicable"]
Evidence = tuple[bool, str]


def _logged(goals: Sequence[GoalFacts]) -> Evidence:
    verified = sum(goal.verified for goal in goals)
    return all(goal.verified and not goal.truncated for goal in goals), f"{verified} signed hops in the audit log"


def _overseen(goals: Sequence[GoalFacts]) -> Evidence:
    decided = [goal for goal in goals if goal.human_decisions]
    return len(decided) == len(goals), f"people decided in {len(decided)} of {len(goals)} goals"


def _documented(goals: Sequence[GoalFacts]) -> Evidence:
    handed = [goal for goal in goals if goal.handed_over]
    return len(handed) == len(
        goals
    ), f"{len(handed)} of {len(goals)} goals handed over a deliverable with its documents"


def _assessed(goals: Sequence[GoalFacts]) -> Evidence:
    known = [goal for goal in goals if goal.gates]
    return len(known) == len(
        goals
    ), f"{len(known)} of {len(goals)} goals passed through the gates with their tier assessed"


def _none_prohibited(goals: Sequence[GoalFacts]) -> Evidence:
    systemic = [goal for goal in goals if goal.risk_tier == "systemic" and goal.outcome == "released"]
    return not systemic, f"{len(systemic)} goals of the systemic tier were released"


# Duties that the log itself is evidence of; all others are for people to answer.
EVIDENT: dict[str, Callable[[Sequence[GoalFacts]], Evidence]] = {
    "prohibited": _none_prohibited,
    "risk-management": _assessed,
    "technical-documentation": _documented,
    "record-keeping": _logged,
    "human-oversight": _overseen,
}


def compliance_report(workspace: str, period: Period, goals: Sequence[GoalFacts], act: Act) -> dict[str, Any]:
    """JSON-ready. A duty that the log says nothing of is open, never met: fail closed."""
    lines = [_line(duty, goals) for duty in act.duties]
    unmet = [line for line in lines if line["status"] == "not_met"]
    undone = [line for line in lines if line["status"] == "open"]
    return {
        "kind": "compliance",
        "version": 1,
        "workspace": workspace,
        "period": period.name,
        "summary": {
            "goals": len(goals),
            "tiers": {
                tier: sum(goal.risk_tier == tier for goal in goals)
                for tier in ("minimal", "limited", "high", "systemic")
            },
            "met": sum(line["status"] == "met" for line in lines),
            "notMet": len(unmet),
            "open": len(undone),
            "status": "FAIL" if unmet else "OPEN" if undone else "PASS",
        },
        "duties": lines,
        "alerts": [{"code": "duty_not_met", "text": f"{line['article']}: {line['evidence']}"} for line in unmet],
    }


def _line(duty: Duty, goals: Sequence[GoalFacts]) -> dict[str, Any]:
    concerned = [goal for goal in goals if goal.risk_tier in duty.tiers]
    status: Status = "open"
    evidence = duty.mitigation
    if duty.id == "prohibited":
        concerned = list(goals)
    if not concerned:
        status, evidence = "not_applicable", "no goal of its tiers ended"
    elif duty.id in EVIDENT:
        holds, evidence = EVIDENT[duty.id](concerned)
        status = "met" if holds else "not_met"
    elif any(
        finding.id == f"duty-{duty.id}" and finding.severity != "info"
        for goal in concerned
        for finding in goal.findings
    ):
        status, evidence = "not_met", f"the assessment of a goal found it open; {duty.mitigation}"
    return {
        "id": duty.id,
        "article": duty.article,
        "duty": duty.text,
        "status": status,
        "evidence": evidence,
        "goals": [goal.goal_id for goal in concerned][:20],
    }
