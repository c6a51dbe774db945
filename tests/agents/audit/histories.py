"""Goal histories signed by hand: what the stream would hold, without a broker and with fixed keys and times."""

from __future__ import annotations

from typing import Any

from interlock.bus.transport import MESSAGE_ID, Message
from interlock.envelope.amounts import ZERO, Amount, Budget, timestamp
from interlock.envelope.children import Draft, derive, origin_of, root
from interlock.envelope.ids import new_id, sha256_hex
from interlock.envelope.keys import SigningKey
from interlock.envelope.model import CostEstimate, PolicyContext
from interlock.envelope.payloads import (
    AuditReport,
    AuditRequest,
    Completion,
    GateOutcome,
    Intake,
    PlanDraft,
    PlanVerdict,
    RiskAssessment,
    Stakeholder,
    Task,
    TaskResult,
    TaskSpec,
    Verification,
)
from interlock.envelope.signing import Sealed, attest, seal
from interlock.envelope.trust import AgentRecord, KeyRecord, Trust, TrustStore, load, sign_store

NOW = 1_763_700_000_000
WORKSPACE = "default"
GOAL = new_id(NOW, b"goal-goal!")
AGENTS = ("gateway", "orchestrator", "evaluator", "executor", "auditor", "synthesizer", "human")
BUDGET = Amount(1000, 1_000_000, 1_000_000, 10_000)


def fixed_key(name: str, kind: str = "U") -> SigningKey:
    return SigningKey(bytes.fromhex(sha256_hex(name.encode())), kind)


KEYS = {agent: fixed_key(agent) for agent in AGENTS}
ROOT = fixed_key("root", "O")


def signed_trust(**more: Any) -> bytes:
    """more: fields of every key record, by agent: `executor={"revoked_at": …}`."""
    window = {"not_before": timestamp(NOW - 1_000_000), "not_after": timestamp(NOW + 1_000_000_000)}
    records = [
        AgentRecord(agent=agent, keys=[KeyRecord(key_id=key.key_id, **window | more.get(agent, {}))])
        for agent, key in KEYS.items()
    ]
    return sign_store(TrustStore(workspace=WORKSPACE, version=3, issued_at=timestamp(NOW), agents=records), [ROOT])


def make_trust(**more: Any) -> Trust:
    return load(signed_trust(**more), [ROOT.key_id])


class History:
    """Hops in the order they were stored, one every 10 ms."""

    def __init__(self, goal_id: str = GOAL) -> None:
        self.goal_id = goal_id
        self.messages: list[Message] = []
        self.sealed: list[Sealed] = []

    @property
    def now_ms(self) -> int:
        return NOW + 10 * len(self.messages)

    def store(self, sealed: Sealed, **more: Any) -> Sealed:
        sequence = 100 + 3 * len(self.messages)
        headers = {MESSAGE_ID: sealed.envelope.id}
        fields: dict[str, Any] = {
            "subject": sealed.envelope.subject,
            "data": sealed.wire,
            "headers": headers,
            "stored_ms": self.now_ms,
        }
        self.messages.append(Message(sequence=sequence, **fields | more))
        self.sealed.append(sealed)
        return sealed

    def intake(self, budget: Amount = BUDGET, **more: Any) -> Sealed:
        key = KEYS["gateway"]
        draft = Draft(to="orchestrator", intent="plan", payload=INTAKE, step="intake", budget=budget)
        settings: dict[str, Any] = {
            "goal_id": self.goal_id,
            "workspace": WORKSPACE,
            "trace_id": "ab" * 16,
            "sender": "gateway",
            "key_id": key.key_id,
            "now_ms": self.now_ms,
            "ttl_ms": 600_000,
            "policy_context": PolicyContext(policy_bundle="p", contract_ref="", capabilities=["skill:*"]),
            "compliance_tags": [],
        }
        return self.store(seal(root(draft, **settings | more), key))

    def child(self, parent: Sealed, sender: str, to: str, intent: Any, payload: Any, **more: Any) -> Sealed:
        key = KEYS[sender]
        draft = Draft(to=to, intent=intent, payload=payload, **{"step": f"{sender}-{len(self.messages)}"} | more)
        origin = origin_of(parent.envelope, parent.digest)
        envelope = derive(origin, draft, sender=sender, key_id=key.key_id, now_ms=self.now_ms)
        return self.store(seal(envelope, key))


def goal_history(tasks: int = 2, goal_id: str = GOAL, attested_by: SigningKey | None = None) -> History:
    """intake, plan, verdict; task, result, verification for each; audit; completion."""
    history = History(goal_id)
    intake = history.intake()
    plan = history.child(intake, "orchestrator", "evaluator", "plan", PLAN, budget=BUDGET)
    mandate = history.child(plan, "evaluator", "orchestrator", "observe", VERDICT, budget=BUDGET)
    share = Amount(0, 0, 100, 1)
    for number in range(tasks):
        task = Task(task_id=f"t{number}", attempt=1, skill="doing-nothing", input={}, now=timestamp(NOW))
        act = history.child(mandate, "orchestrator", "executor", "act", task, budget=share)
        cost = CostEstimate(estimated_cost_usd="0.002")
        result = TaskResult(task_id=f"t{number}", attempt=1, skill="doing-nothing", skill_digest="d", outcome="done")
        attestations = [attest({"_type": "t"}, attested_by)] if attested_by else []
        told = history.child(act, "executor", "evaluator", "observe", result, cost=cost, attestations=attestations)
        verdict = Verification(decision="allow", grounds=[], result=result, result_id=told.envelope.id, confidence=1000)
        history.child(told, "evaluator", "orchestrator", "observe", verdict)
    asked = history.child(mandate, "orchestrator", "auditor", "act", REQUEST, budget=ZERO)
    history.child(asked, "auditor", "orchestrator", "observe", REPORT)
    history.child(mandate, "orchestrator", "human", "complete", COMPLETION, step="complete")
    return history


GATE = GateOutcome(
    gate="G0", name="Intake", owner="Product Lead", passed=True, criteria=["c"], evidence=["e"], at=timestamp(NOW)
)
INTAKE = Intake(
    goal="prove it",
    constraints=[],
    stakeholders=[Stakeholder(name="Ada")],
    success_metrics=["it holds"],
    budget_limits=BUDGET.budget,
)
PLAN = PlanDraft(
    source="tasks", playbook="", tasks=[TaskSpec(id="t0", skill="doing-nothing")], intake=INTAKE, confidence=900
)
RISK = RiskAssessment(tier="limited", reasons=["r"], oversight="none")
VERDICT = PlanVerdict(
    decision="allow", grounds=[], risk=RISK, gates=[GATE], estimated_cost_usd="0", cost_ceiling_usd="1"
)
REQUEST = AuditRequest(
    goal="prove it",
    risk="minimal",
    tasks=[],
    findings=[],
    gates=[GATE],
    budget=Budget(cost_usd="1"),
    cost_usd="0.05",
    carbon_grams="0.01",
)
REPORT = AuditReport(decision="allow", grounds=[], hops=1, verified=1, refused=[], scores={"a": 1}, gates=[], files=[])
COMPLETION = Completion(
    outcome="released",
    grounds=[],
    gates=[],
    findings=[],
    tasks=[],
    wall_ms=1,
    tokens=0,
    cost_usd="0.05",
    carbon_grams="0.01",
)
