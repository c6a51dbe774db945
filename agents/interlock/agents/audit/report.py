"""The audit report and the compliance log of a goal (seed 000: Auditor). Pure: from the request and the hops alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from interlock.agents.audit.hop_graph import HopAudit
from interlock.envelope.amounts import micro_usd
from interlock.envelope.payloads import AuditRequest, DecisionName, Finding, GateOutcome, Ground
from interlock.envelope.verdict import Reason
from interlock.skills.release.documents import code, grid, markdown, told

THRESHOLD = 850
MAX_TOLD = 200
LOST = {"critical": 1000, "high": 400, "medium": 100, "low": 20, "info": 0}
# Findings of the risk assessment that speak of the EU AI Act; `duty-…` are its obligations.
AI_ACT = ("prohibited-practice", "risk-assumed", "ai-unclear", "ai-contradiction")


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
    if audit.truncated:
        grounds.append(
            Ground(
                code="too_many_hops",
                message=f"the goal has more hops than the {len(audit.hops)} that were verified: somebody floods its subjects",
                rule="G5",
                instead="only roles may publish to role.>; give the goal a new id and submit it again",
            )
        )
    spent, limit = micro_usd(request.cost_usd), micro_usd(request.budget.cost_usd)
    if spent > limit:
        grounds.append(Ground(code="over_budget", message=f"spent {spent} of {limit} micro-USD", rule="BUS-05"))
    return Judgement("deny" if grounds else "allow", grounds, scores_of(request, audit))


def scores_of(request: AuditRequest, audit: HopAudit) -> list[Score]:
    """Each 0..1000, by the formula it carries. Hops from inside: all but those that strangers sent (see HopAudit)."""
    broken = audit.broken_inside
    inside = audit.verified + len(broken)
    misplaced = sum(hop.reason is Reason.BAD_PARENT for hop in broken)
    total = request.tasks_total or len(request.tasks)
    passed = sum(gate.passed for gate in request.gates)
    spent, limit = micro_usd(request.cost_usd), micro_usd(request.budget.cost_usd)
    lost = sum(LOST[finding.severity] for finding in request.findings)
    return [
        Score(
            "signatures",
            _per_mille(inside - len(broken) + misplaced, inside),
            "hops from inside that verify by themselves, of all from inside",
        ),
        Score("graph", _per_mille(inside - misplaced, inside), "hops from inside that stand where they may, of all"),
        Score("completion", _per_mille(request.tasks_done, total) if total else 1000, "tasks done of those planned"),
        Score("gates", _per_mille(passed, len(request.gates)), "gates passed of those evaluated"),
        Score("budget", 1000 if spent <= limit else 0, "1000 if the cost stayed within the budget"),
        Score("findings", max(0, 1000 - lost), "1000 less 1000, 400, 100, 20 for each critical, high, medium, low"),
    ]


def audit_report(request: AuditRequest, audit: HopAudit, judged: Judgement, goal_id: str, at: str) -> str:
    """audit_report.md. Sections with nothing to say are absent; foreign text is escaped."""
    return markdown(
        [
            "# Audit report",
            "",
            f"- Goal: {told(request.goal)}",
            f"- Goal id: {code(goal_id)}",
            f"- Written at: {at}",
            f"- Verdict: **{judged.decision}**",
            f"- Risk tier: {request.risk}",
            f"- Hops verified: {audit.verified} of {'more than ' if audit.truncated else ''}{len(audit.hops)}",
            f"- Cost: {request.cost_usd} USD of {request.budget.cost_usd} USD",
            f"- Carbon: {request.carbon_grams} g CO2",
            "",
            *_scores(judged),
            *_section("Gates", ("gate", "name", "owner", "result", "evidence"), map(_gate, request.gates)),
            *_section(
                "Tasks",
                ("task", "skill", "status", "attempts", "cost (micro-USD)", "wall (ms)"),
                (
                    (
                        code(task.id),
                        code(task.skill),
                        told(task.status),
                        task.attempt,
                        task.cost_usd_micro,
                        task.wall_ms,
                    )
                    for task in request.tasks
                ),
            ),
            *_section(
                "Findings",
                ("severity", "finding", "where", "blocks"),
                (
                    (finding.severity, told(finding.message), _where(finding), "yes" if finding.blocks else "no")
                    for finding in request.findings
                ),
            ),
            *_section(
                "Refused hops",
                ("sequence", "claimed sender", "reason", "detail"),
                (
                    (entry.sequence, code(entry.claimed_from), told(entry.reason), code(entry.detail))
                    for entry in audit.refused[:MAX_TOLD]
                ),
            ),
            *_section(
                "Grounds of the verdict",
                ("code", "what"),
                ((code(ground.code), code(ground.message)) for ground in judged.grounds),
            ),
            *_rollback(request),
        ]
    )


def compliance_log(request: AuditRequest, audit: HopAudit, judged: Judgement, goal_id: str, at: str) -> dict[str, Any]:
    """compliance_log.json: every check with its result; times only in fields that end in `At` or `_at`."""
    return {
        "schema_version": "1.0",
        "goal_id": goal_id,
        "written_at": at,
        "verdict": judged.decision,
        "risk_tier": request.risk,
        "quality_score": judged.quality,
        "hops": {"total": len(audit.hops), "verified": audit.verified, "refused": len(audit.refused)},
        "entries": list(_entries(request, audit, judged)),
    }


def _entries(request: AuditRequest, audit: HopAudit, judged: Judgement) -> Iterator[dict[str, Any]]:
    for gate in request.gates:
        yield {
            "kind": "gate",
            "id": gate.gate,
            "name": gate.name,
            "owner": gate.owner,
            "result": _result(gate.passed),
            "decidedAt": gate.at,
        }
        for number, (criterion, evidence) in enumerate(zip(gate.criteria, gate.evidence, strict=False), 1):
            yield {
                "kind": "check",
                "id": f"{gate.gate}.{number}",
                "result": _result(not evidence.startswith("fails")),
                "message": f"{criterion} ({evidence})",
            }
    for score in judged.scores:
        yield {
            "kind": "score",
            "id": score.name,
            "result": _result(score.value >= THRESHOLD),
            "value": score.value,
            "message": score.how,
        }
    for finding in request.findings:
        yield {
            "kind": "eu_ai_act" if _is_ai_act(finding) else "finding",
            "id": finding.id,
            "severity": finding.severity,
            "result": "fail" if finding.blocks else "noted",
            "message": finding.message,
        }
    for entry in audit.refused[:MAX_TOLD]:
        yield {
            "kind": "refused_hop",
            "id": str(entry.sequence),
            "result": "refused",
            "reason": entry.reason,
            "message": f"claimed to come from {entry.claimed_from}: {entry.detail}",
        }
    for ground in judged.grounds:
        yield {"kind": "ground", "id": ground.code, "result": "fail", "rule": ground.rule, "message": ground.message}


def _scores(judged: Judgement) -> list[str]:
    rows = [(score.name, score.value, score.how) for score in judged.scores]
    return [
        "## QualityScore",
        "",
        *grid(
            ("part", "score (of 1000)", "how"),
            [*rows, ("**QualityScore**", f"**{judged.quality}**", "the lowest part")],
        ),
    ]


def _section(title: str, heads: tuple[str, ...], rows: Iterator[tuple[object, ...]]) -> list[str]:
    table = grid(heads, rows)
    return [f"## {title}", "", *table] if table else []


def _gate(gate: GateOutcome) -> tuple[object, ...]:
    result = "passed" if gate.passed else "FAILED"
    return gate.gate, told(gate.name), told(gate.owner), result, told("; ".join(gate.evidence))


def _rollback(request: AuditRequest) -> list[str]:
    """What ran, last first: the order in which effects are undone, where a skill has any."""
    ran = [task for task in reversed(request.tasks) if task.attempt]
    if not ran:
        return []
    return [
        "## Rollback",
        "",
        "Tasks that ran, last first. What they wrote is in the artefact store only, unless their skill declares effects; those",
        "are undone in this order, by what the task's effect journal in the bundle tells of them.",
        "",
        *grid(("task", "skill"), ((code(task.id), code(task.skill)) for task in ran)),
    ]


def _is_ai_act(finding: Finding) -> bool:
    return finding.id in AI_ACT or finding.id.startswith("duty-")


def _where(finding: Finding) -> str:
    return code(f"{finding.file}:{finding.line}" if finding.line else finding.file)


def _result(passed: bool) -> str:
    return "pass" if passed else "fail"


def _per_mille(part: int, whole: int) -> int:
    return part * 1000 // whole if whole else 0
