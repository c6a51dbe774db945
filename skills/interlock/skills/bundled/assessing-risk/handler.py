"""EU AI Act risk assessment of the system in a source tree."""

from __future__ import annotations

from typing import Any

from interlock.skills.release.ai_act import Assessment, Judged, assess, load_act
from interlock.skills.release.documents import json_text
from interlock.skills.repository.findings import Finding, Severity, told
from interlock.skills.repository.given import context_of
from interlock.skills.repository.model import Context
from interlock.skills.sdk import Task


def run(task: Task) -> dict[str, Any]:
    context = context_of(task)
    goal = task.input["goal"]
    rules, act = load_act(task.config)
    hints = goal.get("risk_hints") or {}
    found = assess(hints, goal.get("data_classification", "internal"), context, rules, act)
    document = _document(found, context, goal, task.now)
    (task.out / "risk_assessment.json").write_text(json_text(document), encoding="utf-8")
    return {
        "tier": found.tier,
        "fromAnswers": found.from_answers,
        "isAiSystem": found.is_ai,
        "articles": document["articles"],
        "oversight": found.oversight,
        "biasPotential": found.bias,
        "duties": [
            {"id": entry.duty.id, "article": entry.duty.article, "status": entry.status} for entry in found.duties
        ],
        "openQuestions": document["openQuestions"],
        "assumptions": found.assumptions,
        **told(_findings(found, hints)),
    }


def _document(found: Assessment, context: Context, goal: dict[str, Any], now: str) -> dict[str, Any]:
    return {
        "specVersion": "3.2",
        "regulation": "Regulation (EU) 2024/1689",
        "assessedAt": now,
        "subject": {"name": context.name, "version": context.version, "contentSha256": context.digest},
        "aiSystem": {
            "isAiSystem": found.is_ai,
            "evidence": [
                {"name": use.name, "kind": use.kind, "file": use.file, "line": use.line} for use in found.uses[:100]
            ],
        },
        "tier": found.tier,
        "tierFromAnswers": found.from_answers,
        "reasons": [{"rule": rule.id, "tier": rule.tier, "reason": rule.reason} for rule in found.applied],
        "assumptions": found.assumptions,
        "articles": sorted({entry.duty.article for entry in found.duties}),
        "obligations": [_obligation(entry) for entry in found.duties],
        "mitigations": [
            {"obligation": entry.duty.id, "mitigation": entry.duty.mitigation}
            for entry in found.duties
            if entry.status != "met"
        ],
        "humanOversight": found.oversight,
        "biasPotential": {"level": found.bias, "because": found.bias_reasons},
        "dataClassification": goal.get("data_classification", "internal"),
        "openQuestions": [
            f"{entry.duty.text}: is that so? (risk_hints.{entry.duty.answer})"
            for entry in found.duties
            if entry.status == "open" and entry.duty.answer
        ],
        "answers": {name: goal["risk_hints"][name] for name in sorted(goal.get("risk_hints") or {})},
    }


def _obligation(entry: Judged) -> dict[str, Any]:
    answer = {"answer": f"risk_hints.{entry.duty.answer}"} if entry.duty.answer else {}
    return {
        "id": entry.duty.id,
        "article": entry.duty.article,
        "obligation": entry.duty.text,
        "status": entry.status,
        "blocks": entry.blocks,
        **answer,
    }


def _findings(found: Assessment, hints: dict[str, Any]) -> list[Finding]:
    findings = [_about(entry) for entry in found.duties if entry.status != "met"]
    findings += [Finding("risk-assumed", "medium", f"tier {found.tier}: {why}") for why in found.assumptions]
    if found.is_ai == "unclear":
        message = "neither the sources nor the intake (risk_hints.uses_ai) tell whether this is an AI system"
        findings.append(Finding("ai-unclear", "info", message))
    if hints.get("uses_ai") is False and found.uses:
        use = found.uses[0]
        message = f"the intake says that no AI is used, but the sources use {use.name}"
        findings.append(Finding("ai-contradiction", "high", message, use.file, use.line))
    return findings


def _about(entry: Judged) -> Finding:
    duty = entry.duty
    if duty.never:
        return Finding("prohibited-practice", "critical", f"{duty.article}: {duty.text}", "", 0, True)
    severity: Severity = "high" if entry.blocks else "low"
    state = "is not met" if entry.status == "not_met" else f"is open (risk_hints.{duty.answer})"
    return Finding(f"duty-{duty.id}", severity, f"{duty.article}, {duty.text}: {state}", "", 0, entry.blocks)
