"""Fixed keys, a fixed clock, one valid envelope of every payload type: for the tests here and for the golden vectors."""

from __future__ import annotations

from typing import Any

from interlock.envelope.amounts import Amount, Budget, timestamp
from interlock.envelope.children import Draft, derive, origin_of, root
from interlock.envelope.ids import new_id, sha256_hex
from interlock.envelope.keys import SigningKey
from interlock.envelope.model import Intent, PolicyContext
from interlock.envelope.payloads import (
    ApprovalRequest,
    ArtefactRef,
    AuditReport,
    AuditRequest,
    Completion,
    Escalation,
    GateOutcome,
    Ground,
    HaltNotice,
    HumanDecision,
    Intake,
    KnowledgePack,
    KnowledgeRequest,
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
POLICY = PolicyContext(policy_bundle="p" * 8, contract_ref="", capabilities=["skill:*"])


def fixed_key(name: str, kind: str = "U") -> SigningKey:
    return SigningKey(bytes.fromhex(sha256_hex(name.encode())), kind)


KEYS = {agent: fixed_key(agent) for agent in AGENTS}
ROOT = fixed_key("root", "O")


def id_time_ms(uuid7: str) -> int:
    """The time inside a UUIDv7, in ms since 1970 UTC."""
    return int(uuid7[:8] + uuid7[9:13], 16)


def make_trust(**more: Any) -> Trust:
    window = {"not_before": timestamp(NOW - 1_000_000), "not_after": timestamp(NOW + 1_000_000_000)}
    records = [AgentRecord(agent=a, keys=[KeyRecord(key_id=k.key_id, **window | more)]) for a, k in KEYS.items()]
    store = TrustStore(workspace=WORKSPACE, version=3, issued_at=timestamp(NOW), agents=records)
    return load(sign_store(store, [ROOT]), [ROOT.key_id])


_GATE = GateOutcome(
    gate="G0", name="Intake", owner="Lead", passed=True, criteria=["c"], evidence=["e"], at=timestamp(NOW)
)
_INTAKE = Intake(
    goal="prove it",
    constraints=["none"],
    stakeholders=[Stakeholder(name="Ada")],
    success_metrics=["it holds"],
    budget_limits=Budget(cost_usd="1.5", actions=3),
    inputs={"ключ": "знач", "n": [1, None, True, {"deep": "😀"}], "\ufffd": "\ue000", "😀": "astral"},
)
_RISK = RiskAssessment(tier="limited", reasons=["r"], oversight="none")
_RESULT = TaskResult(task_id="a", attempt=1, skill="s", skill_digest="d", outcome="done", output={"x": 1})
_FILE = ArtefactRef(name="a.md", digest="0" * 64, size=3)
_MONEY: dict[str, Any] = {"cost_usd": "0.05", "carbon_grams": "0.000001"}
PAYLOADS: dict[str, tuple[str, str, Intent, Any]] = {
    "plan_draft": ("orchestrator", "evaluator", "plan", PlanDraft(source="tasks", playbook="", tasks=[TaskSpec(id="a", skill="s")], intake=_INTAKE, confidence=900)),
    "risk_assessment": ("evaluator", "orchestrator", "observe", _RISK),
    "plan_verdict": ("evaluator", "orchestrator", "observe", PlanVerdict(decision="allow", grounds=[], risk=_RISK, gates=[_GATE], estimated_cost_usd="0", cost_ceiling_usd="1")),
    "task": ("orchestrator", "executor", "act", Task(task_id="a", attempt=1, skill="s", input={"x": "y"}, now=timestamp(NOW))),
    "task_result": ("executor", "evaluator", "observe", _RESULT),
    "verification": ("evaluator", "orchestrator", "observe", Verification(decision="allow", grounds=[Ground(code="c", message="m")], result=_RESULT, result_id=GOAL, confidence=1000)),
    "audit_request": ("orchestrator", "auditor", "act", AuditRequest(goal="g", risk="minimal", tasks=[], findings=[], gates=[], budget=Budget(), **_MONEY)),
    "audit_report": ("auditor", "orchestrator", "observe", AuditReport(decision="allow", grounds=[], hops=1, verified=1, refused=[], scores={"a": 1}, gates=[], files=[_FILE])),
    "knowledge_request": ("orchestrator", "synthesizer", "act", KnowledgeRequest(goal="g", outcome="released", tasks=[], findings=[], gates=[], scores={}, cost_usd="0", budget=Budget())),
    "knowledge_pack": ("synthesizer", "orchestrator", "observe", KnowledgePack(lessons=["l"], backlog=[], next_steps=[], gates=[], files=[])),
    "escalation": ("executor", "orchestrator", "escalate", Escalation(code="c", question="q")),
    "approval_request": ("orchestrator", "human", "escalate", ApprovalRequest(approval_id=GOAL, operation="plan.start", target=GOAL, arguments={"plan": "0" * 64}, action_digest="1" * 64, question="q", grounds=[Ground(code="c", message="m")], needed=2, expires_at=timestamp(NOW + 1000))),
    "decision": ("human", "orchestrator", "observe", HumanDecision(about="x", decision="deny", reason="no", by="human")),
    "completion": ("orchestrator", "human", "complete", Completion(outcome="released", grounds=[], gates=[], findings=[], tasks=[], wall_ms=1, tokens=0, **_MONEY)),
    "halt_notice": ("auditor", "orchestrator", "escalate", HaltNotice(scope="goal", reason="r")),
}  # fmt: skip


def make_root(**more: Any) -> Sealed:
    draft = Draft(
        to="orchestrator", intent="plan", payload=_INTAKE, step="intake", budget=Amount(8000, 1_500_000, 60_000, 9)
    )
    settings: dict[str, Any] = {
        "goal_id": GOAL, "workspace": WORKSPACE, "trace_id": "ab" * 16, "sender": "gateway", "now_ms": NOW, "ttl_ms": 600_000,
        "key_id": KEYS["gateway"].key_id, "policy_context": POLICY, "compliance_tags": ["data:internal"],
    }  # fmt: skip
    return seal(root(draft, **settings | more), KEYS["gateway"])


def make(kind: str) -> Sealed:
    """A valid envelope carrying this payload type."""
    if kind == "intake":
        return make_root()
    parent = make_root()
    sender, to, intent, payload = PAYLOADS[kind]
    attestations = [attest({"_type": "t", "subject": []}, KEYS[sender])] if kind == "task_result" else []
    draft = Draft(
        to=to,
        intent=intent,
        payload=payload,
        step=kind,
        budget=Amount(10, 20, 30, 1),
        confidence=850,
        attestations=attestations,
    )
    key = KEYS[sender]
    child = derive(origin_of(parent.envelope, parent.digest), draft, sender=sender, key_id=key.key_id, now_ms=NOW + 5)
    return seal(child, key)


KINDS = ["intake", *PAYLOADS]
TRUST = make_trust()
ENVELOPES = {kind: make(kind) for kind in KINDS}
