"""Approvals that travel with a task: humans' signatures are believed, not the orchestrator (GOV-06). Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET

from interlock.bus.gates import TrustSource
from interlock.bus.hop import Hop
from interlock.bus.policy.facts import ApprovalFacts, age_step
from interlock.envelope.approval import (
    PLAN_START,
    TASK_RUN,
    ApprovalTerms,
    action_of,
    judge_evidence,
    signed_by,
    task_action,
)
from interlock.envelope.model import Envelope
from interlock.envelope.payloads import Approval, Task
from interlock.envelope.verdict import ALLOW, Verdict, deny
from interlock.envelope.verification import Limits

# Nothing of these tiers runs without a human having approved its plan.
RISKY = ("high", "systemic")


class ApprovalCheck:
    """trust: who signs for whom; terms: what approvals must be, whatever the request said."""

    def __init__(self, trust: TrustSource, terms: ApprovalTerms, limits: Limits) -> None:
        self._trust = trust
        self._terms = terms
        self._limits = limits

    def judge(self, envelope: Envelope, task: Task, *, required: bool, now_ms: int) -> Verdict:
        """Whether this task may run as far as approvals go. required: its skill runs only with one of its own. An approval
        that is there is judged even where none is needed.
        """
        given = [] if task.approvals is UNSET else task.approvals
        if required:
            verdict = self._own(envelope, task, given, now_ms)
            if not verdict.allowed:
                return verdict
        return self.judge_plan(envelope, task, now_ms)

    def judge_plan(self, envelope: Envelope, task: Task, now_ms: int) -> Verdict:
        """Whether the goal's plan is approved, where its risk tier demands that."""
        if envelope.risk_tier not in RISKY:
            return ALLOW
        return self._inherited(envelope, task, [] if task.approvals is UNSET else task.approvals, now_ms)

    def facts(self, hop: Hop) -> ApprovalFacts | None:
        """What policies are told of the approvals of a task: of the one that its plan or it itself has; of an approval of
        something else only that it does not match. None for what carries none.
        """
        task, envelope = hop.envelope.payload, hop.envelope
        if not isinstance(task, Task) or task.approvals is UNSET or not task.approvals:
            return None
        verdicts = [
            (approval, self._judged(envelope, task, approval, hop.now_ms).allowed) for approval in task.approvals
        ]
        approval, holds = next((one for one in verdicts if one[1]), verdicts[0])
        by, created_ms = signed_by(approval, self._limits)
        return ApprovalFacts(by=by, age_ms=age_step(hop.now_ms - created_ms), digest_matches=holds)

    def _own(self, envelope: Envelope, task: Task, given: Sequence[Approval], now_ms: int) -> Verdict:
        approval = own_approval(given)
        if approval is None:
            return _missing(f"{task.skill} runs only with a human's approval")
        return self._judged(envelope, task, approval, now_ms)

    def _inherited(self, envelope: Envelope, task: Task, given: Sequence[Approval], now_ms: int) -> Verdict:
        approval = next((one for one in given if one.operation == PLAN_START), None)
        if approval is None or approval.arguments is UNSET:
            return _missing(f"a task of a goal of the risk tier {envelope.risk_tier} runs only under an approved plan")
        return self._judged(envelope, task, approval, now_ms)

    def _judged(self, envelope: Envelope, task: Task, approval: Approval, now_ms: int) -> Verdict:
        if approval.operation != PLAN_START:
            action = task_action(envelope.goal_id, task, envelope.policy_context)
        else:
            # The whole plan is not here; that this goal's plan was approved, and with this skill in it, is.
            arguments = {} if approval.arguments is UNSET else approval.arguments
            action = action_of(PLAN_START, envelope.goal_id, arguments, envelope.policy_context)
            skills = arguments.get("skills")
            if not isinstance(skills, list) or task.skill not in skills:
                return deny("approval_mismatch", f"the approved plan does not run {task.skill}", rule="GOV-06")
        return judge_evidence(
            action,
            approval,
            goal_id=envelope.goal_id,
            trust=self._trust.trust,
            now_ms=now_ms,
            terms=self._terms,
            limits=self._limits,
        )


def own_approval(given: Sequence[Approval]) -> Approval | None:
    """The approval of this very task, which is used up by its run."""
    return next((one for one in given if one.operation == TASK_RUN), None)


def _missing(message: str) -> Verdict:
    return deny("approval_missing", message, rule="GOV-06", instead="the decisions of humans who may approve it")
