"""The audit report and the compliance log of a goal (seed 000: Auditor). Pure: from the request and the hops alone."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from interlock.agents.audit.hop_graph import HopAudit
from interlock.envelope.amounts import micro_usd
from interlock.envelope.payloads import AuditRequest, DecisionName, Ground

THRESHOLD = 850


class Score(Struct, frozen=True):
    """A part of the QualityScore, in parts per thousand, with how it was found."""

    name: str
    value: int
    how: str


class Judgement(Struct, frozen=True):
    decision: DecisionName
    grounds: list[Ground]
    scores: list[Score]

    @property
    def quality(self) -> int:
        """The lowest part: a chain is as good as its weakest link."""
        return min(score.value for score in self.scores)


def judge_goal(request: AuditRequest, audit: HopAudit) -> Judgement:
    """deny if a hop that names a trusted key does not verify, or the spending exceeds the budget. Forgeries by unknown
    keys were refused at the door: they are named, and block nothing.
    """
    grounds = [
        Ground(
            code=f"hop_{hop.reason}",
            message=f"hop {hop.sequence} on {hop.subject[:200]}: {hop.detail}"[:2000],
            rule="G5",
        )
        for hop in audit.broken_inside[:20]
    ]
    spent, limit = micro_usd(request.cost_usd), micro_usd(request.budget.cost_usd)
    if spent > limit:
        grounds.append(Ground(code="over_budget", message=f"spent {spent} of {limit} micro-USD", rule="BUS-05"))
    return Judgement("deny" if grounds else "allow", grounds, scores_of(request, audit))


def scores_of(request: AuditRequest, audit: HopAudit) -> list[Score]:
    inside = len(audit.hops) - len(audit.refused) + len(audit.broken_inside)
    total = request.tasks_total or len(request.tasks)
    passed = sum(gate.passed for gate in request.gates)
    spent, limit = micro_usd(request.cost_usd), micro_usd(request.budget.cost_usd)
    weights = {"critical": 1000, "high": 400, "medium": 100, "low": 20, "info": 0}
    lost = sum(weights[finding.severity] for finding in request.findings)
    return [
        Score("signatures", audit.verified * 1000 // inside if inside else 0, "verified hops of those from inside"),
        Score("completion", request.tasks_done * 1000 // total if total else 1000, "tasks done of those planned"),
        Score("gates", passed * 1000 // len(request.gates) if request.gates else 0, "gates passed of those evaluated"),
        Score("budget", 1000 if spent <= limit else 0, "1000 if the cost stayed within the budget"),
        Score("findings", max(0, 1000 - lost), "1000 less 1000, 400, 100, 20 for each critical, high, medium, low"),
    ]


def audit_report(request: AuditRequest, audit: HopAudit, judged: Judgement, goal_id: str, at: str) -> str:
    """audit_report.md."""
    lines = [
        "# Audit report",
        "",
        f"- Goal: {_plain(request.goal)}",
        f"- Goal id: `{goal_id}`",
        f"- Written at: {at}",
        f"- Verdict: **{judged.decision}**",
        f"- Risk tier: {request.risk}",
        f"- Hops verified: {audit.verified} of {len(audit.hops)}",
        f"- Cost: {request.cost_usd} USD of {request.budget.cost_usd} USD",
        f"- Carbon: {request.carbon_grams} g CO2",
        "",
        "## QualityScore",
        "",
        "| part | score (of 1000) | how |",
        "|---|---:|---|",
        *[f"| {score.name} | {score.value} | {score.how} |" for score in judged.scores],
        f"| **QualityScore** | **{judged.quality}** | the lowest part |",
        "",
        "## Gates",
        "",
        "| gate | name | owner | result | evidence |",
        "|---|---|---|---|---|",
        *[
            f"| {gate.gate} | {gate.name} | {gate.owner} | {'passed' if gate.passed else 'FAILED'} | "
            f"{_cell('; '.join(gate.evidence))} |"
            for gate in request.gates
        ],
        "",
        "## Tasks",
        "",
        "| task | skill | status | attempts | cost (micro-USD) | wall (ms) |",
        "|---|---|---|---:|---:|---:|",
        *[
            f"| {task.id} | {task.skill} | {task.status} | {task.attempt} | {task.cost_usd_micro} | {task.wall_ms} |"
            for task in request.tasks
        ],
    ]
    if request.findings:
        lines += ["", "## Findings", "", "| severity | finding | where | blocks |", "|---|---|---|---|"]
        lines += [
            f"| {finding.severity} | {_cell(finding.message)} | {_cell(_where(finding.file, finding.line))} | "
            f"{'yes' if finding.blocks else 'no'} |"
            for finding in request.findings
        ]
    if audit.refused:
        lines += ["", "## Refused hops", "", "| sequence | claimed sender | reason | detail |", "|---:|---|---|---|"]
        lines += [
            f"| {entry.sequence} | {_cell(entry.claimed_from)} | {entry.reason} | {_cell(entry.detail)} |"
            for entry in audit.refused[:200]
        ]
    if judged.grounds:
        lines += ["", "## Grounds of the verdict", ""]
        lines += [f"- `{ground.code}`: {_plain(ground.message)}" for ground in judged.grounds]
    rollback = "Nothing outside the artefact store was changed by this goal's tasks unless a skill declares effects."
    return "\n".join([*lines, "", "## Rollback", "", rollback, ""])


def compliance_log(request: AuditRequest, audit: HopAudit, judged: Judgement, goal_id: str, at: str) -> dict[str, Any]:
    """compliance_log.json: every check with its result; times only in fields that end in `At`."""
    entries: list[dict[str, Any]] = [
        {
            "kind": "gate",
            "id": gate.gate,
            "name": gate.name,
            "owner": gate.owner,
            "result": "pass" if gate.passed else "fail",
            "evidence": gate.evidence,
            "decidedAt": gate.at,
        }
        for gate in request.gates
    ]
    entries += [
        {
            "kind": "score",
            "id": score.name,
            "result": "pass" if score.value >= THRESHOLD else "fail",
            "value": score.value,
        }
        for score in judged.scores
    ]
    entries += [
        {
            "kind": "finding",
            "id": finding.id,
            "severity": finding.severity,
            "result": "fail" if finding.blocks else "noted",
            "message": finding.message,
        }
        for finding in request.findings
    ]
    entries += [
        {
            "kind": "refused_hop",
            "id": str(entry.sequence),
            "result": "refused",
            "reason": entry.reason,
            "claimedFrom": entry.claimed_from,
        }
        for entry in audit.refused[:200]
    ]
    return {
        "schema_version": "1.0",
        "goal_id": goal_id,
        "written_at": at,
        "verdict": judged.decision,
        "risk_tier": request.risk,
        "quality_score": judged.quality,
        "hops": {"total": len(audit.hops), "verified": audit.verified, "refused": len(audit.refused)},
        "entries": entries,
    }


def _where(file: str, line: int) -> str:
    return f"{file}:{line}" if file and line else file


def _plain(text: str) -> str:
    """One line, without what Markdown or a terminal would take for its own."""
    flat = " ".join(text.split())
    return "".join(character for character in flat if character.isprintable()).replace("<", "&lt;")


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")
