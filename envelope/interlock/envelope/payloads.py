"""What envelopes carry: one Struct per type, told apart by `type`; an unknown type or field is refused (agents.md).

Free-form JSON (skill inputs and outputs) is checked on construction, so that no float or bottomless nesting travels.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from interlock.envelope.amounts import Budget, Count, Decimal6, Timestamp
from interlock.envelope.canonical import check_plain
from interlock.envelope.ids import AgentId, Digest, Token, Uuid7

Text = Annotated[str, Meta(max_length=20_000)]
Line = Annotated[str, Meta(max_length=2_000)]
FileName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}(?!\n)$")]
JsonObject = dict[str, Any]
RiskTier = Literal["minimal", "limited", "high", "systemic"]
Classification = Literal["public", "internal", "confidential", "restricted"]
DecisionName = Literal["allow", "deny", "needs_approval"]
# What may be asked for: `plan.start`, `task.run`, …; the capability to approve it is `approve:<operation>`.
Operation = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,30}(\.[a-z][a-z0-9_]{0,30}){0,3}(?!\n)$")]
MAX_DECIDERS = 8


class Part(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """A piece of a payload."""


class Ground(Part, frozen=True, kw_only=True):
    """Why a verdict is not a plain allow: code, line for people, rule, what would be allowed instead."""

    code: Line
    message: Line
    rule: Line = ""
    instead: Line = ""


class Finding(Part, frozen=True, kw_only=True):
    """Something a skill found. `blocks` findings stop the release."""

    id: Line
    severity: Literal["info", "low", "medium", "high", "critical"]
    message: Line
    file: Line = ""
    line: Count = 0
    blocks: bool = False


class GateOutcome(Part, frozen=True, kw_only=True):
    """One gate (G0–G8) evaluated: who owns it, what was decided, on which evidence (ROL-07)."""

    gate: Annotated[str, Meta(pattern=r"^G[0-8](?!\n)$")]
    name: Line
    owner: Line
    passed: bool
    criteria: list[Line]
    evidence: list[Line]
    at: Timestamp


class ArtefactRef(Part, frozen=True, kw_only=True):
    """A file in the object store, by digest."""

    name: FileName
    digest: Digest
    size: Count
    media_type: Line = "application/octet-stream"


class Stakeholder(Part, frozen=True, kw_only=True):
    name: Line
    role: Line = ""


class TaskSpec(Part, frozen=True, kw_only=True):
    """A node of the plan. `input` may hold references (`${inputs.path}`); `each` fans the node out over a list."""

    id: Token
    skill: Token
    after: list[Token] = field(default_factory=list)
    input: JsonObject = field(default_factory=dict)
    files: list[Token] = field(default_factory=list)
    budget: Budget = field(default_factory=Budget)
    each: Line = ""
    confidence: Count = 1000

    def __post_init__(self) -> None:
        check_plain(self.input, "$.input")


class Intake(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag="intake"):
    """The goal as its user wrote it, after validation (ROL-01). Field names are the user's, hence snake case."""

    goal: Text
    constraints: list[Line]
    stakeholders: list[Stakeholder]
    success_metrics: list[Line]
    budget_limits: Budget
    playbook: Token | None = None
    tasks: list[TaskSpec] = field(default_factory=list)
    release: TaskSpec | None = None
    inputs: JsonObject = field(default_factory=dict)
    risk_hints: JsonObject = field(default_factory=dict)
    deadline: Timestamp | None = None
    data_classification: Classification = "internal"
    seed: Count = 0
    submitted_by: Line = ""

    def __post_init__(self) -> None:
        check_plain(self.inputs, "$.inputs")
        check_plain(self.risk_hints, "$.risk_hints")


class Payload(Part, tag_field="type", frozen=True, kw_only=True):
    """Base of the tagged payloads."""


class PlanDraft(Payload, tag="plan_draft", frozen=True, kw_only=True):
    """The plan graph before review. source: what drafted it."""

    source: Literal["playbook", "tasks", "skills", "model"]
    playbook: Line
    tasks: list[TaskSpec]
    release: TaskSpec | None = None
    intake: Intake
    confidence: Count


class RiskAssessment(Payload, tag="risk_assessment", frozen=True, kw_only=True):
    """The tier of the EU AI Act a goal falls into, and why (GOV-12)."""

    tier: RiskTier
    reasons: list[Line]
    oversight: Line
    obligations: list[Line] = field(default_factory=list)


class PlanVerdict(Payload, tag="plan_verdict", frozen=True, kw_only=True):
    """The evaluator's review of a plan: may it start, at which risk, with which gates passed. approvals: the tasks that
    need a human's approval of their own before they run.
    """

    decision: DecisionName
    grounds: list[Ground]
    risk: RiskAssessment
    gates: list[GateOutcome]
    estimated_cost_usd: Decimal6 = field(name="estimatedCostUSD")
    cost_ceiling_usd: Decimal6 = field(name="costCeilingUSD")
    approvals: list[Token] | UnsetType = UNSET


class Approval(Part, frozen=True, kw_only=True):
    """Evidence that humans approved an action: the envelopes of their decisions as they were signed. arguments: those
    of the action, where its receiver does not have them itself.
    """

    approval_id: Uuid7
    operation: Operation
    target: Line
    arguments: JsonObject | UnsetType = UNSET
    decisions: Annotated[list[Annotated[str, Meta(max_length=16_384)]], Meta(min_length=1, max_length=MAX_DECIDERS)]

    def __post_init__(self) -> None:
        if self.arguments is not UNSET:
            check_plain(self.arguments, "$.arguments")


class Task(Payload, tag="task", frozen=True, kw_only=True):
    """One task to run: resolved input, artefacts handed in, the recorded clock and seed it must use. approvals: those it
    inherits from its plan, and its own.
    """

    task_id: Line
    attempt: Count
    skill: Token
    input: JsonObject
    files: list[ArtefactRef] = field(default_factory=list)
    depends_on: list[Uuid7] = field(default_factory=list)
    now: Timestamp
    seed: Count = 0
    seal: bool = False
    approvals: Annotated[list[Approval], Meta(max_length=2)] | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_plain(self.input, "$.input")


class Usage(Part, frozen=True, kw_only=True):
    """What a run used: CPU µs, wall ms, peak resident kB, model tokens."""

    cpu_us: Count = 0
    wall_ms: Count = 0
    peak_rss_kb: Count = 0
    tokens: Count = 0


class TaskResult(Payload, tag="task_result", frozen=True, kw_only=True):
    """What came of one attempt. `outcome` is `done` or a reason code; `retryable` says whether to try again. domain: that
    of the skill's manifest, to which its cost is put down; left out where no skill was loaded.
    """

    task_id: Line
    attempt: Count
    skill: Token
    skill_digest: Line
    outcome: Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,63}(?!\n)$")]
    detail: Line = ""
    retryable: bool = False
    output: JsonObject = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    files: list[ArtefactRef] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    cost_usd: Decimal6 = field(name="costUSD", default="0")
    carbon_grams: Decimal6 = field(name="carbonGramsCO2", default="0")
    deliverable: ArtefactRef | None = None
    domain: Token | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_plain(self.output, "$.output")


class Verification(Payload, tag="verification", frozen=True, kw_only=True):
    """The evaluator's verdict on a result, with the result it speaks of (gate G4)."""

    decision: DecisionName
    grounds: list[Ground]
    result: TaskResult
    result_id: Uuid7
    confidence: Count


class TaskSummary(Part, frozen=True, kw_only=True):
    """One line of the plan actually run."""

    id: Line
    skill: Token
    after: list[Line]
    status: Line
    attempt: Count
    cost_usd_micro: Count
    wall_ms: Count
    tokens: Count
    confidence: Count
    detail: Line = ""


class AuditRequest(Payload, tag="audit_request", frozen=True, kw_only=True):
    """Asks the auditor for its report on the goal so far."""

    goal: Text
    risk: RiskTier
    tasks: list[TaskSummary]
    tasks_total: Count = 0
    tasks_done: Count = 0
    findings: list[Finding]
    gates: list[GateOutcome]
    cost_usd: Decimal6 = field(name="costUSD")
    carbon_grams: Decimal6 = field(name="carbonGramsCO2")
    budget: Budget


class Refusal(Part, frozen=True, kw_only=True):
    """A hop that did not verify."""

    sequence: Count
    subject: Line
    claimed_from: Line
    reason: Line
    detail: Line


class AuditReport(Payload, tag="audit_report", frozen=True, kw_only=True):
    """The auditor's own finding: hops verified from the stream, refusals, quality scores, the report files."""

    decision: DecisionName
    grounds: list[Ground]
    hops: Count
    verified: Count
    refused: list[Refusal]
    scores: dict[str, Count]
    gates: list[GateOutcome]
    files: list[ArtefactRef]


class KnowledgeRequest(Payload, tag="knowledge_request", frozen=True, kw_only=True):
    """Asks the synthesizer for the knowledge pack of a finished goal."""

    goal: Text
    outcome: Line
    tasks: list[TaskSummary]
    tasks_total: Count = 0
    tasks_done: Count = 0
    findings: list[Finding]
    gates: list[GateOutcome]
    scores: dict[str, Count]
    cost_usd: Decimal6 = field(name="costUSD")
    budget: Budget


class KnowledgePack(Payload, tag="knowledge_pack", frozen=True, kw_only=True):
    """Lessons, backlog and next steps, with the file that holds them (gate G8)."""

    lessons: list[Line]
    backlog: list[Line]
    next_steps: list[Line]
    gates: list[GateOutcome]
    files: list[ArtefactRef]


class Escalation(Payload, tag="escalation", frozen=True, kw_only=True):
    """A question that needs a human: what, why, what may be answered."""

    code: Line
    question: Line
    task_id: Line = ""
    options: list[Line] = field(default_factory=list)


class ApprovalRequest(Payload, tag="approval_request", frozen=True, kw_only=True):
    """Asks humans to approve exactly one action (GOV-06). action_digest: what they sign, see `approval.Action`; needed:
    how many of them; expires_at: no decision counts afterwards.
    """

    approval_id: Uuid7
    operation: Operation
    target: Line
    arguments: JsonObject
    action_digest: Digest
    question: Line
    grounds: list[Ground]
    needed: Annotated[int, Meta(ge=1, le=MAX_DECIDERS)]
    expires_at: Timestamp

    def __post_init__(self) -> None:
        check_plain(self.arguments, "$.arguments")


class HumanDecision(Payload, tag="decision", frozen=True, kw_only=True):
    """A human's answer to an escalation or an approval request. about: the id of either. action_digest: the action that
    was approved or refused.
    """

    about: Line
    decision: DecisionName
    reason: Line
    by: AgentId
    action_digest: Digest | UnsetType = UNSET


class Completion(Payload, tag="completion", frozen=True, kw_only=True):
    """How the goal ended. released: handed over; blocked: governance said no; failed: it could not be done."""

    outcome: Literal["released", "blocked", "failed"]
    grounds: list[Ground]
    gates: list[GateOutcome]
    findings: list[Finding]
    tasks: list[TaskSummary]
    tasks_total: Count = 0
    tasks_done: Count = 0
    cost_usd: Decimal6 = field(name="costUSD")
    carbon_grams: Decimal6 = field(name="carbonGramsCO2")
    wall_ms: Count
    tokens: Count
    deliverable: ArtefactRef | None = None


class HaltNotice(Payload, tag="halt_notice", frozen=True, kw_only=True):
    """A stop order for a scope."""

    scope: Line
    reason: Line
    resumed: bool = False


AnyPayload = (
    Intake
    | PlanDraft
    | RiskAssessment
    | PlanVerdict
    | Task
    | TaskResult
    | Verification
    | AuditRequest
    | AuditReport
    | KnowledgeRequest
    | KnowledgePack
    | Escalation
    | ApprovalRequest
    | HumanDecision
    | Completion
    | HaltNotice
)
