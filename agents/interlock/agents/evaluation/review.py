"""Plan review: cost, policy, risk, injection, graph; gates G1 and G2 (ROL-03). Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from interlock.agents.evaluation.injection import Checker
from interlock.agents.goal.gates import Fact, Gates
from interlock.agents.goal.plan import plan_problems, share_out
from interlock.agents.goal.risk import RiskRules, assess
from interlock.agents.goal.tags import compliance_tags
from interlock.envelope.amounts import Amount, usd_text
from interlock.envelope.capabilities import holds
from interlock.envelope.payloads import DecisionName, Finding, Ground, PlanDraft, PlanVerdict, TaskSpec

CONFIDENCE_THRESHOLD = 850  # ROL-11, parts per thousand
RISKY = ("high", "systemic")
AI_ACT = (
    ("oversight:human", "oversight_missing", "humans oversee it", 14, "human_oversight"),
    ("transparency:given", "transparency_missing", "it is transparent", 13, "transparency"),
)
SERIOUS = ("high", "critical")
ENHANCED = ("medium", *SERIOUS)
COMPLEX_TASKS = 10  # a plan of more is complex


class ReviewRules(Struct, frozen=True):
    """What a review goes by."""

    gates: Gates
    risk: RiskRules
    checker: Checker


class PlanFacts(Struct, frozen=True):
    """What a review needs to know beyond the draft: capability of each known skill, the grant, what the goal holds.
    confidence: thousandths below which a human is asked. ask_always: the contract's humanApprovalRequired. enhanced:
    the flag ai-safety-enhanced, by which injection findings of medium severity are serious too. ai_act: the flag
    eu-ai-act-compliance, by which a plan is denied that policies would deny task by task. approvals: the skills that run
    only with approval. thinking, complex_thinking: tokens that a goal has at least when a model works for it.
    """

    capability_of: dict[str, str]
    budget: Amount
    capabilities: Sequence[str]
    confidence: int = CONFIDENCE_THRESHOLD
    ask_always: bool = False
    enhanced: bool = False
    ai_act: bool = False
    approvals: Collection[str] = ()
    thinking: int = 0
    complex_thinking: int = 0


def review_plan(draft: PlanDraft, facts: PlanFacts, rules: ReviewRules, at: str) -> PlanVerdict:
    """The verdict on a plan. deny: a gate fails. needs_approval: the risk tier or a low confidence asks for a human."""
    specs = [*draft.tasks, *([draft.release] if draft.release else [])]
    risk = assess(draft.intake, rules.risk)
    problems = plan_problems(draft.tasks, draft.release, lambda name: name in facts.capability_of)
    injections = injected(draft, rules.checker, ENHANCED if facts.enhanced else SERIOUS)
    missing = missing_capabilities(specs, facts)
    shares = share_out(specs, lambda spec: _count(spec, draft), facts.budget)
    known: dict[str, Fact] = {
        "plan_problems": len(problems),
        "plan_within_budget": shares.wanted.within(facts.budget),
        "plan_confidence": draft.confidence,
        "injection_findings": len(injections),
        "risk_assessed": True,
        "capabilities_held": not missing,
    }
    gates = [rules.gates.outcome("G1", known, at), rules.gates.outcome("G2", known, at)]
    grounds = [Ground(code="plan_invalid", message=f"{entry.path}: {entry.message}", rule="G1") for entry in problems]
    grounds += [Ground(code="injection", message=finding.message, rule=finding.id) for finding in injections]
    grounds += [
        Ground(
            code="capability_missing",
            message=f"the goal does not hold {capability}",
            rule="G2",
            instead=f"held: {', '.join(facts.capabilities)}",
        )
        for capability in missing
    ]
    if facts.ai_act:
        grounds += ai_act_problems(draft, risk.tier)
    if not shares.wanted.within(facts.budget):
        wanted, left = shares.wanted.budget, facts.budget.budget
        grounds.append(
            Ground(
                code="over_budget",
                message=f"the plan asks for {_told(wanted)}, the goal has {_told(left)}",
                rule="G1",
                instead="raise budget_limits or lower the tasks' budgets",
            )
        )
    grounds += thinking_problems(draft, facts, risk.tier)
    decision, asked = _decision(draft, facts, gates_passed=not grounds, tier=risk.tier)
    return PlanVerdict(
        decision=decision,
        grounds=(grounds + asked)[:50],
        risk=risk,
        gates=gates,
        estimated_cost_usd=usd_text(shares.wanted.usd_micro),
        cost_ceiling_usd=usd_text(facts.budget.usd_micro),
        approvals=[spec.id for spec in specs if spec.skill in facts.approvals] or UNSET,
    )


def ai_act_problems(draft: PlanDraft, tier: str) -> list[Ground]:
    """What the EU AI Act demands of this tier and the intake does not say is met (GOV-12): told before a human is asked."""
    met = compliance_tags(draft.intake)
    return [
        Ground(
            code=code,
            message=f"a goal of the risk tier {tier} must say that {what} (EU AI Act, Article {article})",
            rule="GOV-12",
            instead=f"risk_hints: {{{hint}: true}} once it is so",
        )
        for tag, code, what, article, hint in AI_ACT
        if tier in RISKY and tag not in met
    ]


def thinking_problems(draft: PlanDraft, facts: PlanFacts, tier: str) -> list[Ground]:
    """A model that may think too little for the work plans badly: the contract says how much is the least (GOV-05). Of a plan
    that no model drafted nothing is asked: nobody thinks for it.
    """
    is_complex = tier in RISKY or len(draft.tasks) > COMPLEX_TASKS
    least = facts.complex_thinking if is_complex else facts.thinking
    if draft.source != "model" or facts.budget.tokens >= least:
        return []
    kind = "complex" if is_complex else "baseline"
    return [
        Ground(
            code="thinking_too_low",
            message=f"a {kind} goal that a model plans has at least {least} thinking tokens; this has {facts.budget.tokens}",
            rule=f"contract.baselines.{'complexThinkingTokens' if is_complex else 'thinkingTokens'}",
            instead=f"budget_limits: {{thinkingTokens: {least}}}, or a playbook or tasks of your own",
        )
    ]


def _decision(
    draft: PlanDraft, facts: PlanFacts, *, gates_passed: bool, tier: str
) -> tuple[DecisionName, list[Ground]]:
    if not gates_passed:
        return "deny", []
    asked = []
    if facts.ask_always:
        asked.append(
            Ground(
                code="human_approval_required",
                message="the contract demands a human's approval of every goal",
                rule="emergencyFlags.humanApprovalRequired",
                instead="an approval by a person who may give it",
            )
        )
    if draft.confidence < facts.confidence:
        asked.append(
            Ground(
                code="low_confidence",
                message=f"the plan's confidence is {draft.confidence / 1000:.3f}, below {facts.confidence / 1000:.3f}",
                rule="ROL-11",
                instead="name a playbook or list the tasks",
            )
        )
    if tier in RISKY:
        asked.append(
            Ground(
                code="risk_tier",
                message=f"a goal of the risk tier {tier} needs a human's approval",
                rule="GOV-12",
                instead="an approval by a person who may give it",
            )
        )
    return ("needs_approval" if asked else "allow"), asked


def injected(draft: PlanDraft, checker: Checker, serious: Sequence[str] = SERIOUS) -> list[Finding]:
    """Injection findings of these severities in what the user wrote."""
    found = checker.check(msgspec.to_builtins(draft.intake)) + checker.check(
        [task.input for task in draft.tasks], "$.tasks"
    )
    return [finding for finding in found if finding.severity in serious]


def missing_capabilities(specs: Sequence[TaskSpec], facts: PlanFacts) -> list[str]:
    """Capabilities that the plan's skills need and no held pattern (`skill:*`) covers."""
    needed = {facts.capability_of[spec.skill] for spec in specs if spec.skill in facts.capability_of}
    return sorted(name for name in needed if not holds(facts.capabilities, name))


def _count(spec: TaskSpec, draft: PlanDraft) -> int:
    items: Any = draft.intake.inputs.get(spec.each.removeprefix("${inputs.").removesuffix("}"))
    return len(items) if spec.each and isinstance(items, list) else 1


def _told(budget: Any) -> str:
    return f"{budget.cost_usd} USD, {budget.thinking_tokens} tokens, {budget.wall_ms} ms, {budget.actions} actions"
