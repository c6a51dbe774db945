"""The state of one goal, as the fold of its journal makes it. Owned by `decide`; nothing else changes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from msgspec import Struct

from interlock.agents.approvals.book import Approval
from interlock.agents.goal.plan import predecessors
from interlock.agents.status import Phase
from interlock.envelope.amounts import ZERO, Amount, micro_usd
from interlock.envelope.approval import ApprovalTerms
from interlock.envelope.children import Draft, Origin
from interlock.envelope.kind_quota import KindQuota
from interlock.envelope.model import Attestation
from interlock.envelope.payloads import (
    ArtefactRef,
    AuditReport,
    Completion,
    Escalation,
    Finding,
    GateOutcome,
    Ground,
    Intake,
    KnowledgePack,
    PlanDraft,
    PlanVerdict,
    TaskResult,
    TaskSpec,
    TaskSummary,
    Verification,
)

TaskStatus = Literal["waiting", "waiting_approval", "running", "done", "failed"]


class Event(Struct, frozen=True, tag_field="event", kw_only=True):
    """Something that happened to the goal, as the journal keeps it. cause: the id of the envelope that told it."""

    cause: str
    at_ms: int


class Began(Event, tag="began", frozen=True, kw_only=True):
    """The intake arrived and was planned: a draft, or the reasons why there is none. terms: what was asked of approvals
    then, so that settings changed later do not change what was decided; gates: those without which the contract of then
    lets nothing be released; kinds: what it lets work of a kind cost.
    """

    origin: Origin
    intake: Intake
    draft: PlanDraft | None
    problems: list[Ground] = msgspec.field(default_factory=list)
    grants: list[Attestation] = msgspec.field(default_factory=list)
    terms: ApprovalTerms = ApprovalTerms()
    gates: list[str] = msgspec.field(default_factory=list)
    kinds: list[KindQuota] = msgspec.field(default_factory=list)


class Reviewed(Event, tag="reviewed", frozen=True, kw_only=True):
    origin: Origin
    verdict: PlanVerdict


class Verified(Event, tag="verified", frozen=True, kw_only=True):
    verification: Verification
    attestations: list[Attestation]


class Audited(Event, tag="audited", frozen=True, kw_only=True):
    report: AuditReport


class Learned(Event, tag="learned", frozen=True, kw_only=True):
    pack: KnowledgePack


class Escalated(Event, tag="escalated", frozen=True, kw_only=True):
    """An actor asked for a human."""

    sender: str
    escalation: Escalation


class DeadlinePassed(Event, tag="deadline_passed", frozen=True, kw_only=True):
    pass


class Decided(Event, tag="decided", frozen=True, kw_only=True):
    """A human has decided. decider: the agent the key is enrolled for, with these capabilities; by: the name signed with;
    wire: the signed envelope.
    """

    approval_id: str
    decider: str
    capabilities: list[str]
    by: str
    allows: bool
    reason: str
    action_digest: str
    wire: str


class ApprovalTimedOut(Event, tag="approval_timed_out", frozen=True, kw_only=True):
    """The broker's reminder for an approval has come due."""

    approval_id: str


class Withheld(Event, tag="withheld", frozen=True, kw_only=True):
    """Policies did not let the start of a task go out: it needs an approval, or is denied. step: of the draft."""

    task_id: str
    step: str
    needs_approval: bool
    detail: str


AnyEvent = (
    Began | Reviewed | Verified | Audited | Learned | Escalated | DeadlinePassed | Decided | ApprovalTimedOut | Withheld
)


class Send(Struct, frozen=True):
    """A decision: make this child of this parent. granted: what its other children hold already."""

    parent: Origin
    draft: Draft
    granted: Amount = ZERO


@dataclass
class TaskState:
    """One task instance; `id` is the node's id, with a number where the node fans out. approval: the id of the last
    approval asked for it; demanded: why policies asked for one; held: its start, while it waits for that.
    """

    id: str
    node: str
    index: int = 0
    item: Any = None
    status: TaskStatus = "waiting"
    attempt: int = 0
    grant: Amount = ZERO
    result: TaskResult | None = None
    result_id: str = ""
    confidence: int = 0
    detail: str = ""
    approval: str = ""
    demanded: str = ""
    held: Send | None = None


@dataclass
class Node:
    """A node of the plan with its instances; `waits` counts predecessors that are not done."""

    spec: TaskSpec
    waits: int
    followers: list[str] = field(default_factory=list)
    instances: list[TaskState] = field(default_factory=list)
    open: int = -1

    @property
    def done(self) -> bool:
        return self.open == 0


@dataclass
class GoalState:
    """phase: where the goal stands. mandate: the plan verdict, parent of all acts, with what its children hold."""

    phase: Phase = "planning"
    began: Began | None = None
    mandate: Origin | None = None
    granted: Amount = ZERO
    share: Amount = ZERO
    verdict: PlanVerdict | None = None
    nodes: dict[str, Node] = field(default_factory=dict)
    tasks: dict[str, TaskState] = field(default_factory=dict)
    running: dict[str, TaskState] = field(default_factory=dict)
    release: TaskState | None = None
    spent: Amount = ZERO
    carbon_micro_grams: int = 0
    done: int = 0
    failed: list[TaskState] = field(default_factory=list)
    rejected: int = 0
    grounds: list[Ground] = field(default_factory=list)
    gates: list[GateOutcome] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    attestations: list[Attestation] = field(default_factory=list)
    audit: AuditReport | None = None
    pack: KnowledgePack | None = None
    escalations: list[Escalation] = field(default_factory=list)
    approvals: dict[str, Approval] = field(default_factory=dict)
    completion: Completion | None = None
    ended_ms: int = 0
    causes: set[str] = field(default_factory=set)

    @property
    def intake(self) -> Intake:
        if self.began is None:
            raise RuntimeError("the goal has not begun")
        return self.began.intake

    def files_of(self, node: str) -> list[ArtefactRef]:
        """Artefacts of all instances of a node that are done."""
        return [
            file
            for instance in self.nodes[node].instances
            if instance.result is not None and instance.status == "done"
            for file in instance.result.files
        ]


def nodes_of(tasks: list[TaskSpec]) -> dict[str, Node]:
    """The graph, ready to run."""
    nodes = {spec.id: Node(spec, len(predecessors(spec))) for spec in tasks}
    for spec in tasks:
        for before in predecessors(spec):
            nodes[before].followers.append(spec.id)
    return nodes


def summary(task: TaskState, spec: TaskSpec) -> TaskSummary:
    """One line of the plan actually run."""
    result = task.result
    return TaskSummary(
        id=task.id,
        skill=spec.skill,
        after=predecessors(spec),
        status=task.status,
        attempt=task.attempt,
        cost_usd_micro=0 if result is None else micro_usd(result.cost_usd),
        wall_ms=0 if result is None else result.usage.wall_ms,
        tokens=0 if result is None else result.usage.tokens,
        confidence=task.confidence,
        detail=task.detail,
    )
