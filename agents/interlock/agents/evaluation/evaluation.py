"""What the evaluator answers to a plan or a result. Pure: the same envelope, rules and time give the same draft."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from interlock.agents.evaluation.injection import load_checker
from interlock.agents.evaluation.review import PlanFacts, ReviewRules, review_plan
from interlock.agents.evaluation.verify_result import SchemaCheck, SkillFacts, verify_result
from interlock.agents.goal.gates import load_gates
from interlock.agents.goal.risk import assess, load_rules
from interlock.bus.gates import ContractSource
from interlock.envelope.amounts import timestamp
from interlock.envelope.children import Draft
from interlock.envelope.goal_grant import without_grants
from interlock.envelope.model import Envelope
from interlock.envelope.payloads import PlanDraft, TaskResult

FactsOf = Callable[[str], SkillFacts | None]
Capabilities = Callable[[], dict[str, str]]
Approvals = Callable[[], Collection[str]]


class Evaluation(Struct, frozen=True, kw_only=True):
    """capabilities: capability by skill name; facts_of: what is known of one skill; check_schema: all errors of a
    value under a JSON Schema as (path, message); contract: the one in force, which may demand that humans are asked;
    is_enhanced, demands_ai_act: the flags ai-safety-enhanced and eu-ai-act-compliance, by risk tier; approvals: the skills
    that run only with a human's approval.
    """

    rules: ReviewRules
    capabilities: Capabilities
    facts_of: FactsOf
    check_schema: SchemaCheck
    contract: ContractSource | None = None
    is_enhanced: Callable[[str], bool] = lambda _tier: False
    demands_ai_act: Callable[[str], bool] = lambda _tier: True
    approvals: Approvals = tuple

    def answer(self, envelope: Envelope, now_ms: int) -> Draft | None:
        """The verdict on a plan, or the verification of a result; None for what is neither."""
        payload = envelope.payload
        if isinstance(payload, PlanDraft):
            verdict = review_plan(payload, self._facts(envelope, payload), self.rules, timestamp(now_ms))
            # The whole grant goes back with the verdict: it is the mandate of all that follows.
            return Draft(
                to="orchestrator",
                intent="observe",
                payload=verdict,
                step="verdict",
                budget=envelope.budget.amount,
                confidence=payload.confidence,
                risk_tier=verdict.risk.tier,
            )
        if not isinstance(payload, TaskResult):
            return None
        verification = verify_result(
            payload,
            result_id=envelope.id,
            key_id=envelope.key_id,
            attestations=envelope.attestations,
            skill=self.facts_of(payload.skill),
            check_schema=self.check_schema,
            checker=self.rules.checker,
        )
        return Draft(
            to="orchestrator",
            intent="observe",
            payload=verification,
            step="verification",
            confidence=verification.confidence,
            cost=envelope.cost_estimate,
            attestations=without_grants(envelope.attestations),
        )

    def _facts(self, envelope: Envelope, draft: PlanDraft) -> PlanFacts:
        """Emergency flags are those of now, baselines those of the version that the goal began under."""
        tier = assess(draft.intake, self.rules.risk).tier
        facts = PlanFacts(
            capability_of=self.capabilities(),
            budget=envelope.budget.amount,
            capabilities=envelope.policy_context.capabilities,
            enhanced=self.is_enhanced(tier),
            ai_act=self.demands_ai_act(tier),
            approvals=self.approvals(),
        )
        if self.contract is None:
            return facts
        chain = self.contract.chain
        version = chain.find(envelope.policy_context.contract_ref) or chain.head
        return replace(
            facts,
            confidence=version.contract.baselines.confidence_per_mille,
            thinking=version.contract.baselines.thinking_tokens,
            complex_thinking=version.contract.baselines.complex_thinking_tokens,
            ask_always=chain.head.contract.emergency_flags.human_approval_required,
        )


def load_review_rules(config: Path) -> ReviewRules:
    """From the configuration directory. Raises ValueError for a bad file."""
    return ReviewRules(
        load_gates(config / "gates.yaml"),
        load_rules(config / "risk.yaml"),
        load_checker(config / "injection.yaml"),
    )
