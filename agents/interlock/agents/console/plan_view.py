"""A goal's plan as its verified hops tell it: which task stands where, what it cost, which files came of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from msgspec import Struct

from interlock.agents.audit.hop_graph import Hop
from interlock.agents.goal.plan import predecessors
from interlock.agents.status import GoalStatus
from interlock.envelope.amounts import micro_usd, usd_text
from interlock.envelope.approval import TASK_RUN
from interlock.envelope.payloads import (
    ApprovalRequest,
    ArtefactRef,
    AuditReport,
    Completion,
    HumanDecision,
    KnowledgePack,
    PlanDraft,
    Task,
    TaskResult,
    TaskSpec,
    Verification,
)

Standing = Literal["waiting", "asked", "running", "done", "failed"]
SEPARATOR = "."
# From what counts least to what counts most, when a node's instances stand differently.
_WEIGHT: dict[Standing, int] = {"done": 0, "waiting": 1, "running": 2, "asked": 3, "failed": 4}


@dataclass
class TaskView:
    """One task instance. attempt: the last one begun."""

    id: str
    skill: str
    standing: Standing = "waiting"
    attempt: int = 0
    cost_usd_micro: int = 0
    wall_ms: int = 0
    tokens: int = 0
    outcome: str = ""
    detail: str = ""
    files: list[ArtefactRef] = field(default_factory=list)


class NodeView(Struct, frozen=True, kw_only=True):
    """A node of the plan: its instances folded into one. count: how many there are, 0 before a fan-out is known."""

    id: str
    skill: str
    after: tuple[str, ...]
    standing: Standing
    count: int
    done: int


class ArtefactView(Struct, frozen=True):
    """A file, and which task or role it came from."""

    ref: ArtefactRef
    source: str


class Figures(Struct, frozen=True, kw_only=True):
    """Of the tasks without the release, as the status of a goal counts them; carbon is in the status alone."""

    total: int
    done: int
    failed: int
    cost_usd: str


class PlanView(Struct, frozen=True, kw_only=True):
    """source: what drafted the plan, empty before it is there; release: the id of the task that hands over, if any."""

    source: str
    release: str
    playbook: str
    nodes: list[NodeView]
    tasks: list[TaskView]
    artefacts: list[ArtefactView]
    deliverable: ArtefactRef | None


def plan_view(hops: Iterable[Hop]) -> PlanView:
    """hops: of one goal, in stream order; what does not verify says nothing."""
    draft: PlanDraft | None = None
    tasks: dict[str, TaskView] = {}
    asked: dict[str, str] = {}
    artefacts: dict[str, ArtefactView] = {}
    deliverable: ArtefactRef | None = None
    for hop in hops:
        payload = hop.envelope.payload if hop.verified and hop.envelope is not None else None
        match payload:
            case PlanDraft():
                draft = payload
            case ApprovalRequest() if payload.operation == TASK_RUN:
                name = payload.target.partition("/")[2]
                asked[payload.approval_id] = name
                tasks.setdefault(name, TaskView(name, str(payload.arguments.get("skill", "")))).standing = "asked"
            case HumanDecision() if payload.decision == "deny" and payload.about in asked:
                refused = tasks[asked[payload.about]]
                refused.standing, refused.detail = "failed", f"rejected by {payload.by}: {payload.reason}"
            case Task():
                view = tasks.setdefault(payload.task_id, TaskView(payload.task_id, payload.skill))
                view.standing, view.attempt = "running", payload.attempt
            case TaskResult():
                _count(tasks.setdefault(payload.task_id, TaskView(payload.task_id, payload.skill)), payload)
            case Verification():
                result = payload.result
                view = tasks.setdefault(result.task_id, TaskView(result.task_id, result.skill))
                if payload.decision == "allow" and result.outcome == "done":
                    view.standing, view.files = "done", result.files
                    _keep(artefacts, result.files, result.task_id)
                else:
                    view.standing = "failed"
                    view.detail = "; ".join(ground.message for ground in payload.grounds) or result.detail
            case AuditReport():
                _keep(artefacts, payload.files, "auditor")
            case KnowledgePack():
                _keep(artefacts, payload.files, "synthesizer")
            case Completion():
                deliverable = payload.deliverable
                for summary in payload.tasks:
                    known = tasks.get(summary.id)
                    if known is not None and summary.status == "failed":
                        known.standing, known.detail = "failed", known.detail or summary.detail
    if deliverable is not None:
        _keep(artefacts, [deliverable], "deliverable")
    specs = [] if draft is None else [*draft.tasks, *([draft.release] if draft.release else [])]
    return PlanView(
        source="" if draft is None else draft.source,
        release=draft.release.id if draft is not None and draft.release is not None else "",
        playbook="" if draft is None else draft.playbook,
        nodes=_nodes(specs, draft.release if draft else None, tasks),
        tasks=_ordered(specs, tasks),
        artefacts=list(artefacts.values()),
        deliverable=deliverable,
    )


def figures(plan: PlanView, status: GoalStatus) -> Figures:
    """Of a goal that runs its hops tell more than its status, which is written now and then."""
    if status.outcome:
        return Figures(
            total=status.tasks_total, done=status.tasks_done, failed=status.tasks_failed, cost_usd=status.cost_usd
        )
    tasks = [task for task in plan.tasks if task.id != plan.release]
    return Figures(
        total=max(len(tasks), status.tasks_total),
        done=sum(task.standing == "done" for task in tasks),
        failed=sum(task.standing == "failed" for task in tasks),
        cost_usd=usd_text(sum(task.cost_usd_micro for task in plan.tasks)),
    )


def _count(view: TaskView, result: TaskResult) -> None:
    """What an attempt cost adds up, whatever came of it."""
    view.cost_usd_micro += micro_usd(result.cost_usd)
    view.wall_ms += result.usage.wall_ms
    view.tokens += result.usage.tokens
    view.outcome, view.detail = result.outcome, result.detail


def _keep(artefacts: dict[str, ArtefactView], files: Sequence[ArtefactRef], source: str) -> None:
    for ref in files:
        artefacts.setdefault(ref.digest, ArtefactView(ref, source))


def _nodes(specs: Sequence[TaskSpec], release: TaskSpec | None, tasks: dict[str, TaskView]) -> list[NodeView]:
    nodes = []
    instances = _by_node(specs, tasks)
    for spec in specs:
        views = instances[spec.id]
        after = predecessors(spec)
        if spec is release:  # it waits for everything
            after = [other.id for other in specs if other is not spec]
        standing: Standing = max((view.standing for view in views), key=lambda one: _WEIGHT[one], default="waiting")
        nodes.append(
            NodeView(
                id=spec.id,
                skill=spec.skill,
                after=tuple(after),
                standing=standing,
                count=len(views) or (0 if spec.each else 1),
                done=sum(view.standing == "done" for view in views),
            )
        )
    return nodes


def _by_node(specs: Sequence[TaskSpec], tasks: dict[str, TaskView]) -> dict[str, list[TaskView]]:
    """Instances of a fan-out are called after their node, with a number."""
    found: dict[str, list[TaskView]] = {spec.id: [] for spec in specs}
    for view in tasks.values():
        node = view.id if view.id in found else view.id.rpartition(SEPARATOR)[0]
        if node in found:
            found[node].append(view)
    return found


def _ordered(specs: Sequence[TaskSpec], tasks: dict[str, TaskView]) -> list[TaskView]:
    """In the plan's order, also those that nobody has begun; what the plan does not name comes last."""
    by_node = _by_node(specs, tasks)
    ordered = [view for spec in specs for view in by_node[spec.id] or [TaskView(spec.id, spec.skill)]]
    named = {view.id for view in ordered}
    return [*ordered, *(view for view in tasks.values() if view.id not in named)]
