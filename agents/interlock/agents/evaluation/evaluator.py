"""The evaluator's shell: plans and results in, verdicts out."""

from __future__ import annotations

from collections.abc import Callable, Collection

from msgspec.structs import replace

from interlock.agents.evaluation.review import PlanFacts, ReviewRules, review_plan
from interlock.agents.evaluation.risk import assess
from interlock.agents.evaluation.verify_result import SchemaCheck, SkillFacts, verify_result
from interlock.bus.gates import ContractSource
from interlock.bus.hop import DONE, Hop, Outcome, Refusal
from interlock.bus.sender import Sender
from interlock.envelope.amounts import timestamp
from interlock.envelope.children import Draft
from interlock.envelope.model import Envelope
from interlock.envelope.payloads import PlanDraft, TaskResult
from interlock.envelope.verdict import Reason

FactsOf = Callable[[str], SkillFacts | None]
Capabilities = Callable[[], dict[str, str]]
Approvals = Callable[[], Collection[str]]


class EvaluatorRole:
    """capabilities: capability by skill name; facts_of: what is known of one skill; check_schema: all errors of a
    value under a JSON Schema as (path, message); contract: the one in force, which may demand that humans are asked;
    is_enhanced: the flag ai-safety-enhanced, by risk tier; approvals: the skills that run only with a human's approval.
    """

    def __init__(
        self,
        sender: Sender,
        rules: ReviewRules,
        *,
        capabilities: Capabilities,
        facts_of: FactsOf,
        check_schema: SchemaCheck,
        contract: ContractSource | None = None,
        is_enhanced: Callable[[str], bool] = lambda _tier: False,
        approvals: Approvals = tuple,
    ) -> None:
        self._sender = sender
        self._rules = rules
        self._capabilities = capabilities
        self._facts_of = facts_of
        self._check_schema = check_schema
        self._contract = contract
        self._is_enhanced = is_enhanced
        self._approvals = approvals

    async def handle(self, hop: Hop) -> Outcome:
        envelope, payload = hop.envelope, hop.envelope.payload
        if isinstance(payload, PlanDraft):
            verdict = review_plan(payload, self._facts(envelope, payload), self._rules, timestamp(hop.now_ms))
            # The whole grant goes back with the verdict: it is the mandate of all that follows.
            draft = Draft(
                to="orchestrator",
                intent="observe",
                payload=verdict,
                step="verdict",
                budget=envelope.budget.amount,
                confidence=payload.confidence,
                risk_tier=verdict.risk.tier,
            )
        elif isinstance(payload, TaskResult):
            verification = verify_result(
                payload,
                result_id=envelope.id,
                key_id=envelope.key_id,
                attestations=envelope.attestations,
                skill=self._facts_of(payload.skill),
                check_schema=self._check_schema,
                checker=self._rules.checker,
            )
            draft = Draft(
                to="orchestrator",
                intent="observe",
                payload=verification,
                step="verification",
                confidence=verification.confidence,
                cost=envelope.cost_estimate,
                attestations=envelope.attestations,
            )
        else:
            raise Refusal(Reason.WRONG_PAYLOAD, f"an evaluator does not handle {type(payload).__name__}")
        await self._sender.send(hop.origin, [draft], now_ms=hop.now_ms)
        return DONE

    def _facts(self, envelope: Envelope, draft: PlanDraft) -> PlanFacts:
        """Emergency flags are those of now, baselines those of the version that the goal began under."""
        facts = PlanFacts(
            capability_of=self._capabilities(),
            budget=envelope.budget.amount,
            capabilities=envelope.policy_context.capabilities,
            enhanced=self._is_enhanced(assess(draft.intake, self._rules.risk).tier),
            approvals=self._approvals(),
        )
        if self._contract is None:
            return facts
        chain = self._contract.chain
        version = chain.find(envelope.policy_context.contract_ref) or chain.head
        return replace(
            facts,
            confidence=version.contract.baselines.confidence_per_mille,
            ask_always=chain.head.contract.emergency_flags.human_approval_required,
        )
