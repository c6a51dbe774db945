"""The weekly attestation (AUD-07; seed 004, §2.2): PASS, PASS WITH CONDITIONS or FAIL, from four examinations. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

from interlock.agents.deviations.fold import Deviation
from interlock.agents.reports.cost import Ceilings
from interlock.agents.reports.facts import GoalFacts
from interlock.agents.reports.periods import DAY_MS, Period
from interlock.agents.reports.signatures import rate_per_mille
from interlock.envelope.amounts import timestamp, usd_text

Outcome = Literal["PASS", "PASS WITH CONDITIONS", "FAIL"]
DETERMINISM_PER_MILLE = 950
HIGH_PER_MILLE = 800


class Finding(Struct, frozen=True):
    """What an examination found: fails it, or is a condition to be watched."""

    fails: bool
    text: str


class Examination(Struct, frozen=True):
    name: str
    measured: str
    wanted: str
    findings: list[Finding]

    @property
    def outcome(self) -> Outcome:
        if any(finding.fails for finding in self.findings):
            return "FAIL"
        return "PASS WITH CONDITIONS" if self.findings else "PASS"


def attestation(
    workspace: str, period: Period, goals: Sequence[GoalFacts], ceilings: Ceilings, deviations: Sequence[Deviation]
) -> dict[str, Any]:
    """JSON-ready. The outcome is that of the worst examination; a week in which nothing ended has a condition."""
    examinations = [
        _compliance(goals, [one for one in deviations if one.opened_ms < period.end_ms]),
        _signatures(goals),
        _economics(period, goals, ceilings),
        _determinism(goals),
    ]
    outcomes = [examination.outcome for examination in examinations]
    outcome: Outcome = (
        "FAIL" if "FAIL" in outcomes else "PASS WITH CONDITIONS" if set(outcomes) != {"PASS"} or not goals else "PASS"
    )
    return {
        "kind": "attestation",
        "version": 1,
        "workspace": workspace,
        "period": period.name,
        "summary": {
            "outcome": outcome,
            "goals": len(goals),
            "from": timestamp(period.start_ms),
            "until": timestamp(period.end_ms),
            "pausesProduction": outcome == "FAIL",
        },
        "examinations": [
            {
                "name": one.name,
                "outcome": one.outcome,
                "measured": one.measured,
                "wanted": one.wanted,
                "findings": [finding.text for finding in one.findings],
            }
            for one in examinations
        ],
        "conditions": _conditions(goals, examinations),
        "alerts": [
            {"code": "attestation_failed", "text": f"{one.name}: {finding.text}"}
            for one in examinations
            for finding in one.findings
            if finding.fails
        ],
    }


def _conditions(goals: Sequence[GoalFacts], examinations: Sequence[Examination]) -> list[str]:
    found = [f"{one.name}: {finding.text}" for one in examinations for finding in one.findings if not finding.fails]
    return found if goals else ["no goal ended in this week: nothing shows that production works", *found]


def _compliance(goals: Sequence[GoalFacts], deviations: Sequence[Deviation]) -> Examination:
    released = [goal for goal in goals if goal.outcome == "released"]
    past = [goal for goal in released if not goal.gates or not all(gate.passed for gate in goal.gates)]
    findings = [Finding(True, f"goal {goal.goal_id} was released past a gate") for goal in past]
    for one in deviations:
        if one.kind == "compliance_failure" and one.is_open:
            findings.append(Finding(True, f"deviation {one.id} is open: {one.kind} of {one.about}"))
        elif one.is_open:
            findings.append(Finding(bool(one.escalated_ms), f"deviation {one.id} is open: {one.kind} of {one.about}"))
    return Examination(
        "compliance",
        f"{len(released) - len(past)} of {len(released)} released goals passed every gate",
        "all of them, and no deviation open past its deadline",
        findings,
    )


def _signatures(goals: Sequence[GoalFacts]) -> Examination:
    findings = [
        Finding(True, f"goal {goal.goal_id}: {goal.failed} hops do not verify") for goal in goals if goal.failed
    ]
    findings += [Finding(True, f"goal {goal.goal_id}: not every hop was looked at") for goal in goals if goal.truncated]
    strangers = sum(goal.strangers for goal in goals)
    if strangers:
        findings.append(Finding(False, f"{strangers} hops of strangers were refused"))
    return Examination("signatures", f"{rate_per_mille(goals)} ‰ verified", "1000 ‰", findings)


def _economics(period: Period, goals: Sequence[GoalFacts], ceilings: Ceilings) -> Examination:
    findings = [
        Finding(True, f"goal {goal.goal_id} cost {usd_text(goal.usd_micro)} of {usd_text(goal.limit_micro)} USD")
        for goal in goals
        if goal.usd_micro > goal.limit_micro
    ]
    dearest = 0
    for start in range(period.start_ms, period.end_ms, DAY_MS):
        spent = sum(goal.usd_micro for goal in goals if start <= goal.ended_ms < start + DAY_MS)
        dearest = max(dearest, spent)
        if ceilings.day_micro and spent > ceilings.day_micro:
            findings.append(
                Finding(True, f"{timestamp(start)[:10]}: {usd_text(spent)} USD are beyond the day's budget")
            )
        elif ceilings.day_micro and spent * 1000 >= HIGH_PER_MILLE * ceilings.day_micro:
            findings.append(Finding(False, f"{timestamp(start)[:10]}: {usd_text(spent)} USD are near the day's budget"))
    return Examination(
        "economics",
        f"the dearest day cost {usd_text(dearest)} USD",
        f"at most {usd_text(ceilings.day_micro)} USD a day, and every goal within its own budget",
        findings,
    )


def _determinism(goals: Sequence[GoalFacts]) -> Examination:
    asked = [goal.replayed for goal in goals if goal.replayed is not None]
    decisions, equal = sum(one.decisions for one in asked), sum(one.equal for one in asked)
    rate = equal * 1000 // decisions if decisions else 0
    findings = []
    if not decisions and goals:
        findings.append(Finding(False, "no goal of this week was replayed"))
    elif equal < decisions:
        first = next(one.first for one in asked if one.first)
        findings.append(Finding(rate < DETERMINISM_PER_MILLE, f"decisions differ in a replay, first {first}"))
    measured = f"{rate} ‰ of {decisions} decisions of {len(asked)} goals" if decisions else "not measured"
    return Examination("determinism", measured, f"1000 ‰; below {DETERMINISM_PER_MILLE} ‰ it fails", findings)
