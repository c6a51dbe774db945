"""Approvals in the fold of a goal: asking, counting, going on or not (GOV-06). Changes the state given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET
from msgspec.structs import replace

from interlock.agents.approvals.book import Approval, Vote
from interlock.agents.goal.deadline import deadline_ms
from interlock.agents.goal.state import AnyEvent, ApprovalTimedOut, Decided, GoalState, Send, TaskState
from interlock.envelope.amounts import timestamp
from interlock.envelope.approval import PLAN_START, Action, action_of, may_approve, task_action
from interlock.envelope.canonical import canonical
from interlock.envelope.children import Draft, Origin
from interlock.envelope.ids import derived_id, sha256_hex
from interlock.envelope.payloads import Approval as Evidence
from interlock.envelope.payloads import ApprovalRequest, Ground, PlanDraft, Task

if TYPE_CHECKING:
    from interlock.envelope.payloads import JsonObject


def plan_arguments(draft: PlanDraft, origin: Origin) -> JsonObject:
    """What starting a plan means: the plan to the byte, its skills, what it may spend."""
    specs = [*draft.tasks, *([draft.release] if draft.release else [])]
    budget = origin.budget.budget
    return {
        "plan": sha256_hex(canonical(draft)),
        "tasks": len(specs),
        "skills": sorted({spec.skill for spec in specs}),
        "risk": origin.risk_tier,
        "budget": {
            "costUSD": budget.cost_usd,
            "thinkingTokens": budget.thinking_tokens,
            "wallMs": budget.wall_ms,
            "actions": budget.actions,
        },
    }


def ask_plan(state: GoalState, at_ms: int) -> list[Send]:
    """The plan waits for its approval."""
    began, mandate, verdict = state.began, state.mandate, state.verdict
    if began is None or began.draft is None or mandate is None or verdict is None:
        return []
    state.phase = "approval"
    action = action_of(PLAN_START, mandate.goal_id, plan_arguments(began.draft, mandate), mandate.policy_context)
    question = f"May this plan start? {'; '.join(ground.message for ground in verdict.grounds)}"
    return [_ask(state, action, question, verdict.grounds, "approval:plan", at_ms)]


def needs_approval(state: GoalState, task: TaskState) -> bool:
    """Whether the review, or the policies when it was to be sent, said that this task must be asked for."""
    named = state.verdict.approvals if state.verdict is not None else UNSET
    return bool(task.demanded) or (named is not UNSET and task.node in named)


def ask_task(state: GoalState, task: TaskState, send: Send, at_ms: int) -> list[Send]:
    """The task waits, with everything it will be started with; what it may spend is kept for it meanwhile."""
    payload, mandate = send.draft.payload, send.parent
    if not isinstance(payload, Task):
        raise TypeError("only tasks wait for approval one by one")
    task.status, task.held = "waiting_approval", send
    action = task_action(mandate.goal_id, payload, mandate.policy_context)
    question = f"May task {task.id} run {payload.skill}? {task.demanded}".rstrip()
    grounds = [Ground(code="approval_required", message=f"{payload.skill} runs only with a human's approval")]
    if task.demanded:
        grounds = [Ground(code="policy", message=task.demanded)]
    asking = _ask(state, action, question, grounds, f"approval:{task.id}:{task.attempt}", at_ms)
    task.approval = next(reversed(state.approvals))
    return [asking]


def _ask(state: GoalState, action: Action, question: str, grounds: list[Ground], step: str, at_ms: int) -> Send:
    began, mandate = state.began, state.mandate
    if began is None or mandate is None:
        raise RuntimeError("there is nothing to approve before the plan is reviewed")
    # Not the id of an envelope, which depends on which orchestrator sends it, but as unique.
    approval_id = derived_id(mandate.workspace, mandate.id, "approval", step)
    expires_ms = min(at_ms + began.terms.timeout_ms, deadline_ms(began))
    request = ApprovalRequest(
        approval_id=approval_id,
        operation=action.operation,
        target=action.target,
        arguments=action.arguments,
        action_digest=action.digest,
        question=question[:2000],
        grounds=grounds[:50],
        needed=began.terms.needed,
        expires_at=timestamp(expires_ms),
    )
    state.approvals[approval_id] = Approval(request, at_ms)
    draft = Draft(to="human", intent="escalate", payload=request, step=step, ttl_ms=max(1, expires_ms - at_ms))
    return Send(mandate, draft, state.granted)


def objection(state: GoalState, event: AnyEvent) -> str:
    """Why this decision does not count whatever else happens, for its dead letter; empty if it may."""
    if not isinstance(event, Decided):
        return ""
    approval = state.approvals.get(event.approval_id)
    if approval is None:
        return f"there is no approval {event.approval_id} in this goal"
    if event.action_digest != approval.request.action_digest:
        return f"the decision is on another action than approval {event.approval_id} asks for"
    if not may_approve(event.capabilities, approval.request.operation):
        return f"{event.by} does not hold approve:{approval.request.operation}"
    return ""


def matters(state: GoalState, event: AnyEvent) -> bool:
    """False for the end of a time nobody waits for: it need not be remembered."""
    if not isinstance(event, ApprovalTimedOut):
        return True
    approval = state.approvals.get(event.approval_id)
    return approval is not None and approval.is_open


def settled(state: GoalState, event: Decided | ApprovalTimedOut) -> Approval | None:
    """Folds a decision or the end of its time in; the approval if it has ended by this event."""
    approval = state.approvals.get(event.approval_id)
    if approval is None or objection(state, event):
        return None
    if isinstance(event, ApprovalTimedOut):
        return approval if approval.expire(event.at_ms) else None
    vote = Vote(
        decider=event.decider,
        by=event.by,
        allows=event.allows,
        reason=event.reason,
        at_ms=event.at_ms,
        wire=event.wire,
    )
    return approval if approval.take(vote) else None


def task_of(state: GoalState, approval: Approval) -> TaskState | None:
    """The task that waits for this approval."""
    tasks = [*state.tasks.values(), *([state.release] if state.release else [])]
    return next((task for task in tasks if task.approval == approval.request.approval_id), None)


def launched(state: GoalState, task: TaskState, send: Send, at_ms: int) -> Send:
    """The start of a task, with the approvals it acts under: the plan's, which all its tasks inherit, and its own."""
    task.status, task.held = "running", None
    state.running[task.id] = task
    approvals = [*_inherited(state), *_own(state, task)]
    payload = send.draft.payload
    if isinstance(payload, Task):
        payload = replace(payload, now=timestamp(at_ms), approvals=approvals or UNSET)
    # Others may have been granted something while it waited; its own part is among what has been granted already.
    granted = state.granted - task.grant
    return Send(send.parent, replace(send.draft, payload=payload), granted)


def withdraw_all(state: GoalState, at_ms: int) -> None:
    """Nobody will wait any more: what is open ends, as timed out where its time is up."""
    for approval in state.approvals.values():
        if approval.expire(at_ms):
            state.grounds.append(approval.ground)
        approval.withdraw()
    for task in [*state.tasks.values(), *([state.release] if state.release else [])]:
        if task.status == "waiting_approval":
            task.status, task.held, task.detail = "waiting", None, "not asked for any more"


def waiting_for(state: GoalState) -> list[Approval]:
    return [approval for approval in state.approvals.values() if approval.is_open]


def is_plan_approved(state: GoalState) -> bool:
    return any(
        approval.request.operation == PLAN_START and approval.state == "approved"
        for approval in state.approvals.values()
    )


def _inherited(state: GoalState) -> list[Evidence]:
    return [
        replace(approval.evidence, arguments=approval.request.arguments)
        for approval in state.approvals.values()
        if approval.request.operation == PLAN_START and approval.state == "approved"
    ]


def _own(state: GoalState, task: TaskState) -> list[Evidence]:
    approval = state.approvals.get(task.approval)
    return [] if approval is None else [approval.evidence]
