"""What happens next: the fold over a goal's events. Pure but for the state it is given: the same events in the same
order make the same state and the same commands, which is what replay, recovery and two orchestrators rely on.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from msgspec.structs import replace

from interlock.agents.approvals.book import DENIED, TIMED_OUT
from interlock.agents.goal.approving import (
    ask_plan,
    is_plan_approved,
    launched,
    settled,
    task_of,
    waiting_for,
    withdraw_all,
)
from interlock.agents.goal.dispatch import MAX_ATTEMPTS, fail, followers_ready, plan_run, start, start_ready, withheld
from interlock.agents.goal.gates import Fact, Gates, all_passed, lacking
from interlock.agents.goal.plan import share_out
from interlock.agents.goal.state import (
    AnyEvent,
    ApprovalTimedOut,
    Audited,
    Began,
    DeadlinePassed,
    Decided,
    Escalated,
    GoalState,
    Learned,
    Reviewed,
    Send,
    TaskState,
    Verified,
    Withheld,
    nodes_of,
)
from interlock.envelope.amounts import Amount, micro_usd, timestamp, usd_text
from interlock.envelope.approval import EVIDENCE_CODES
from interlock.envelope.children import Draft
from interlock.envelope.payloads import (
    AuditRequest,
    Completion,
    Escalation,
    Finding,
    Ground,
    KnowledgeRequest,
    TaskResult,
    TaskSpec,
    TaskSummary,
)

MAX_TOLD = 200
# An actor gave up on an authentic hop: the goal cannot go on without it.
UNDELIVERABLE = "undeliverable"
GOVERNANCE_CODES = frozenset(
    {
        "over_budget",
        "over_quota",
        "path_not_allowed",
        "capability_missing",
        "policy_denied",
        "unknown",
        DENIED,
        TIMED_OUT,
    }
    | {"approval_missing", "approval_used", *EVIDENCE_CODES}
)


class Decider:
    """Decides for goals under one set of gate definitions."""

    def __init__(self, gates: Gates) -> None:
        self._gates = gates

    def apply(self, state: GoalState, event: AnyEvent) -> list[Send]:
        """Folds one event in and gives what is to be sent because of it. An event that no longer matters (a late
        result, a second audit report) changes nothing and sends nothing.
        """
        state.causes.add(event.cause)
        if isinstance(event, Began):
            return self._began(state, event)
        if state.began is None or state.phase == "ended":
            return []
        if isinstance(event, Reviewed):
            return self._reviewed(state, event)
        if isinstance(event, Verified):
            return self._verified(state, event)
        if isinstance(event, Audited):
            return self._audited(state, event)
        if isinstance(event, Learned):
            return self._learned(state, event)
        if isinstance(event, Decided | ApprovalTimedOut):
            return self._settled(state, event)
        if isinstance(event, Withheld):
            return self._withheld(state, event)
        if isinstance(event, DeadlinePassed):
            state.grounds.append(Ground(code="deadline", message="the goal's deadline passed before it was done"))
            return self._finish(state, event.at_ms)
        return self._escalated(state, event)

    def _began(self, state: GoalState, event: Began) -> list[Send]:
        if state.began is not None:
            return []
        state.began = event
        facts: dict[str, Fact] = {
            "goal_stated": bool(event.intake.goal.strip()),
            "stakeholders": len(event.intake.stakeholders),
            "success_metrics": len(event.intake.success_metrics),
            "budget_actions": event.origin.budget.actions,
        }
        self._gate(state, "G0", facts, event.at_ms)
        if event.draft is None:
            state.grounds += event.problems
            return self._finish(state, event.at_ms)
        state.phase = "review"
        draft = Draft(
            to="evaluator",
            intent="plan",
            payload=event.draft,
            step="review",
            budget=event.origin.budget,
            confidence=event.draft.confidence,
        )
        return [Send(event.origin, draft)]

    def _reviewed(self, state: GoalState, event: Reviewed) -> list[Send]:
        began = state.began
        if state.phase != "review" or began is None or began.draft is None:
            return []
        verdict = event.verdict
        state.verdict, state.mandate = verdict, event.origin
        state.gates += verdict.gates
        if verdict.decision == "needs_approval":
            return ask_plan(state, event.at_ms)
        if verdict.decision == "deny":
            state.grounds += verdict.grounds
            return self._finish(state, event.at_ms)
        return self._run(state, event.at_ms)

    def _run(self, state: GoalState, at_ms: int) -> list[Send]:
        """The plan may start."""
        began, mandate = state.began, state.mandate
        if began is None or began.draft is None or mandate is None:
            return []
        plan = [*began.draft.tasks, *([began.draft.release] if began.draft.release else [])]
        state.share = share_out(plan, lambda spec: instances_of(spec, began), mandate.budget).automatic
        state.nodes = nodes_of(began.draft.tasks)
        state.phase = "running"
        ready = [name for name, node in state.nodes.items() if node.waits == 0]
        return start_ready(state, ready, at_ms) + self._if_idle(state, at_ms)

    def _settled(self, state: GoalState, event: Decided | ApprovalTimedOut) -> list[Send]:
        """What waited for an approval goes on, or ends with the reason why not."""
        approval = settled(state, event)
        if approval is None:
            return []
        approved = approval.state == "approved"
        if state.phase == "approval":
            if approved:
                return self._run(state, event.at_ms)
            state.grounds += [approval.ground, *(state.verdict.grounds if state.verdict else [])]
            return self._finish(state, event.at_ms)
        task = task_of(state, approval)
        if task is None or task.held is None:
            return []
        if approved:
            return [launched(state, task, task.held, event.at_ms)]
        fail(state, task, approval.ground.code, approval.ground.message)
        return self._finish(state, event.at_ms) if task is state.release else self._if_idle(state, event.at_ms)

    def _verified(self, state: GoalState, event: Verified) -> list[Send]:
        verification = event.verification
        result = verification.result
        task = state.running.get(result.task_id)
        if task is None or task.attempt != result.attempt:
            return []
        del state.running[task.id]
        task.result, task.result_id = result, verification.result_id
        task.confidence = verification.confidence
        self._count(state, result)
        state.attestations += event.attestations
        spec = self._spec(state, task)
        if verification.decision == "allow":
            task.status = "done"
            state.findings += result.findings
            if task is state.release:
                return self._finish(state, event.at_ms)
            state.done += 1
            node = state.nodes[task.node]
            node.open -= 1
            ready = followers_ready(state, node) if node.done else []
            return start_ready(state, ready, event.at_ms) + self._if_idle(state, event.at_ms)
        if result.outcome == "done":
            state.rejected += 1
        if result.retryable and task.attempt < MAX_ATTEMPTS and not state.failed:
            again = start(state, task, spec, event.at_ms)
            return again + self._if_idle(state, event.at_ms)
        task.status = "failed"
        why = verification.grounds or [Ground(code=result.outcome, message=result.detail)]
        task.detail = f"{why[0].code}: {why[0].message}"[:2000]
        state.failed.append(task)
        state.grounds += [replace(ground, message=f"task {task.id}: {ground.message}"[:2000]) for ground in why]
        if task is state.release:
            return self._finish(state, event.at_ms)
        return self._if_idle(state, event.at_ms)

    def _withheld(self, state: GoalState, event: Withheld) -> list[Send]:
        task = state.running.get(event.task_id)
        if task is None:
            return []
        sends = withheld(state, event, self._spec(state, task), task)
        if task is state.release:
            return sends or self._finish(state, event.at_ms)
        return sends + self._if_idle(state, event.at_ms)

    def _if_idle(self, state: GoalState, at_ms: int) -> list[Send]:
        """Nothing runs and nothing waits for a human any more: on to the audit."""
        if state.failed:
            withdraw_all(state, at_ms)
        if state.running or waiting_for(state) or state.phase != "running" or state.mandate is None:
            return []
        state.phase = "auditing"
        confidences = [task.confidence for task in state.tasks.values() if task.status == "done"]
        facts: dict[str, Fact] = {
            "tasks_done": state.done,
            "tasks_not_done": len(plan_run(state)) - state.done,
            "results_not_verified": state.rejected,
        }
        if confidences:
            facts["lowest_confidence"] = min(confidences)
        elif state.done == 0 and not state.failed:
            facts["lowest_confidence"] = 1000
        self._gate(state, "G3", facts, at_ms)
        self._gate(state, "G4", facts, at_ms)
        request = AuditRequest(
            goal=state.intake.goal,
            risk=state.verdict.risk.tier if state.verdict else "systemic",
            **_told(state),
            gates=state.gates,
            cost_usd=usd_text(state.spent.usd_micro),
            carbon_grams=usd_text(state.carbon_micro_grams),
            budget=state.mandate.budget.budget,
        )
        return [Send(state.mandate, Draft(to="auditor", intent="act", payload=request, step="audit"))]

    def _audited(self, state: GoalState, event: Audited) -> list[Send]:
        if state.phase != "auditing" or state.mandate is None:
            return []
        state.phase, state.audit = "learning", event.report
        facts: dict[str, Fact] = {
            "audit_allows": event.report.decision == "allow",
            "blocking_findings": sum(1 for finding in state.findings if finding.blocks),
        }
        self._gate(state, "G5", facts, event.at_ms)
        state.grounds += event.report.grounds
        request = KnowledgeRequest(
            goal=state.intake.goal,
            outcome="failed" if state.failed else "released" if all_passed(state.gates) else "blocked",
            **_told(state),
            gates=state.gates,
            scores=event.report.scores,
            cost_usd=usd_text(state.spent.usd_micro),
            budget=state.mandate.budget.budget,
        )
        return [Send(state.mandate, Draft(to="synthesizer", intent="act", payload=request, step="knowledge"))]

    def _learned(self, state: GoalState, event: Learned) -> list[Send]:
        if state.phase != "learning":
            return []
        state.pack = event.pack
        release = state.began.draft.release if state.began and state.began.draft else None
        if release is None or state.failed:
            return self._finish(state, event.at_ms)
        state.phase = "releasing"
        state.release = TaskState(id=release.id, node=release.id)
        sends = start(state, state.release, release, event.at_ms)
        return sends or self._finish(state, event.at_ms)

    def _escalated(self, state: GoalState, event: Escalated) -> list[Send]:
        state.escalations.append(event.escalation)
        if event.escalation.code == UNDELIVERABLE:
            detail = f"{event.sender}: {event.escalation.question}"
            state.grounds.append(Ground(code=UNDELIVERABLE, message=detail[:2000]))
            return self._finish(state, event.at_ms)
        return self._ask_human(state, event.escalation, f"escalation:{event.cause}")

    def _finish(self, state: GoalState, at_ms: int) -> list[Send]:
        began = state.began
        if began is None:
            return []
        withdraw_all(state, at_ms)
        release = began.draft.release if began.draft else None
        sealed = state.release.result.deliverable if state.release and state.release.result else None
        before = len([outcome for outcome in state.gates if not outcome.passed])
        total = began.origin.budget
        facts: dict[str, Fact] = {
            "earlier_gates_failed": before + (0 if state.audit else 1),
            "deliverable_complete": release is None or (sealed is not None and not _release_blocks(state)),
            "cost_within_budget": state.spent.within(total),
            "cost_recorded": all(task.result is not None for task in state.tasks.values() if task.status == "done"),
        }
        if state.pack is not None:
            facts["knowledge_files"] = len(state.pack.files)
        for gate in ("G6", "G7", "G8"):
            self._gate(state, gate, facts, at_ms)
        nothing_else = self._outcome(state, []) == "released"
        for gate in lacking(state.gates, began.gates) if nothing_else else ():
            if not any(outcome.gate == gate for outcome in state.gates):
                message = f"the contract releases nothing without gate {gate}, and it was not passed"
                state.grounds.append(Ground(code="gate_missing", message=message, rule="contract.gates"))
        state.phase, state.ended_ms = "ended", at_ms
        state.completion = Completion(
            outcome=self._outcome(state, began.gates),
            grounds=state.grounds,
            gates=state.gates,
            **_told(state),
            cost_usd=usd_text(state.spent.usd_micro),
            carbon_grams=usd_text(state.carbon_micro_grams),
            wall_ms=max(0, at_ms - began.at_ms),
            tokens=state.spent.tokens,
            deliverable=sealed,
        )
        parent = state.mandate or began.origin
        granted = state.granted if state.mandate else parent.budget
        return [Send(parent, Draft(to="human", intent="complete", payload=state.completion, step="complete"), granted)]

    def _outcome(self, state: GoalState, required: list[str]) -> Literal["released", "blocked", "failed"]:
        """blocked where governance said no or a required gate has not passed, failed where it could not be done."""
        refused = any(ground.code in GOVERNANCE_CODES for ground in state.grounds)
        denied = state.verdict is not None and (
            state.verdict.decision == "deny"
            or (state.verdict.decision == "needs_approval" and not is_plan_approved(state))
        )
        if denied or refused:
            return "blocked"
        if (
            state.failed
            or any(ground.code in ("deadline", UNDELIVERABLE) for ground in state.grounds)
            or state.verdict is None
        ):
            return "failed"
        return "released" if all_passed(state.gates, required) else "blocked"

    def _ask_human(self, state: GoalState, escalation: Escalation, step: str) -> list[Send]:
        parent = state.mandate or (state.began.origin if state.began else None)
        if parent is None:
            return []
        granted = state.granted if state.mandate else parent.budget
        return [Send(parent, Draft(to="human", intent="escalate", payload=escalation, step=step), granted)]

    def _gate(self, state: GoalState, gate: str, facts: dict[str, Fact], at_ms: int) -> None:
        state.gates.append(self._gates.outcome(gate, facts, timestamp(at_ms)))

    def _count(self, state: GoalState, result: TaskResult) -> None:
        state.spent = state.spent + Amount(result.usage.tokens, micro_usd(result.cost_usd), result.usage.wall_ms, 1)
        state.carbon_micro_grams += micro_usd(result.carbon_grams)

    def _spec(self, state: GoalState, task: TaskState) -> TaskSpec:
        if task is state.release and state.began and state.began.draft and state.began.draft.release:
            return state.began.draft.release
        return state.nodes[task.node].spec


def _release_blocks(state: GoalState) -> bool:
    """Whether assembling the deliverable found something that must not go out."""
    result = state.release.result if state.release else None
    return result is not None and any(finding.blocks for finding in result.findings)


class _Told(TypedDict):
    tasks: list[TaskSummary]
    tasks_total: int
    tasks_done: int
    findings: list[Finding]


def _told(state: GoalState) -> _Told:
    """Tasks and findings as envelopes tell them: bounded, with what went wrong first."""
    lines = plan_run(state)
    tasks = sorted(lines, key=lambda line: line.status == "done")[:MAX_TOLD] if len(lines) > MAX_TOLD else lines
    findings = sorted(state.findings, key=lambda finding: not finding.blocks)[:MAX_TOLD]
    return _Told(tasks=tasks, tasks_total=len(lines), tasks_done=state.done, findings=findings)


def instances_of(spec: TaskSpec, began: Began) -> int:
    """How many instances a node will have, as far as the intake tells: a fan-out over inputs is known, over another
    task's output it is not and counts once.
    """
    name = spec.each.removeprefix("${inputs.").removesuffix("}")
    items = began.intake.inputs.get(name)
    return len(items) if spec.each and isinstance(items, list) else 1
