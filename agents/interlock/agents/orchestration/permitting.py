"""Policies on the sending side: a task that its receiver would refuse does not leave (bus.md, Sending; GOV-04)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec import UNSET

from interlock.agents.approvals.evidence import RISKY, ApprovalCheck, own_approval
from interlock.agents.goal.state import Send, Withheld
from interlock.agents.goal.task_facts import task_facts
from interlock.bus.gates import TrustSource
from interlock.bus.hop import Hop
from interlock.bus.policy.facts import facts_of, performer_facts, sender_facts
from interlock.bus.policy.service import policy_service
from interlock.bus.policy.stage import Judge, told
from interlock.bus.policy.worker import PASSING
from interlock.bus.sender import Identity
from interlock.bus.transport import Message
from interlock.envelope.children import ChildRefused, derive
from interlock.envelope.payloads import Task
from interlock.envelope.verdict import Decision

if TYPE_CHECKING:
    from interlock.agents.parts import Parts
    from interlock.skills.manifest import Skill


class Permit:
    """What of an orchestrator's tasks may go out. The receiver judges each again, by the same policies."""

    def __init__(
        self,
        judge: Judge,
        trust: TrustSource,
        identity: Identity,
        approvals: ApprovalCheck,
        find: Callable[[str], Skill | None],
    ) -> None:
        self._judge = judge
        self._trust = trust
        self._identity = identity
        self._approvals = approvals
        self._find = find

    async def sorted_out(self, sends: Sequence[Send], now_ms: int) -> tuple[list[Send], list[Withheld]]:
        """(what may go out, what the goal is told of the rest)"""
        going: list[Send] = []
        withheld: list[Withheld] = []
        for send in sends:
            event = await self._objection(send, now_ms)
            if event is None:
                going.append(send)
            else:
                withheld.append(event)
        return going, withheld

    async def _objection(self, send: Send, now_ms: int) -> Withheld | None:
        """None also where policies gave no answer: then its receiver decides."""
        task, key = send.draft.payload, self._identity.key
        if not isinstance(task, Task):
            return None
        try:
            envelope = derive(
                send.parent,
                send.draft,
                sender=self._identity.agent,
                key_id=key.key_id,
                now_ms=now_ms,
                granted=send.granted,
            )
        except ChildRefused:
            return None  # told by whoever tries to send it
        hop = Hop(Message(envelope.subject, b""), now_ms)
        hop.envelope = envelope
        trust = self._trust.trust
        facts = facts_of(
            hop,
            sender_facts(trust, key.key_id, now_ms),
            performer_facts(trust, send.draft.to),
            task=task_facts(hop, self._find),
            approval=self._approvals.facts(hop),
        )
        verdict = await self._judge.judge(facts)
        if verdict.allowed or {ground.code for ground in verdict.grounds} <= PASSING:
            return None
        # It has an approval of its own that does not help, or it is its plan that lacks one.
        asked = own_approval([] if task.approvals is UNSET else task.approvals) is not None
        plan_lacks = envelope.risk_tier in RISKY and not self._approvals.judge_plan(envelope, task, now_ms).allowed
        return Withheld(
            cause=f"policy:{send.draft.step}",
            at_ms=now_ms,
            task_id=task.task_id,
            step=send.draft.step,
            needs_approval=verdict.decision is Decision.NEEDS_APPROVAL and not asked and not plan_lacks,
            detail=told(verdict)[:2000],
        )


def permit_of(parts: Parts) -> Permit:
    """The permit of an orchestrator: its policies, its approvals' terms, the skills it knows. Raises PolicyError."""
    from interlock.skills.registry import Registry

    approvals = ApprovalCheck(parts.trust, parts.approvals, parts.limits)
    judge = policy_service(parts.config / "policies", parts.policies)
    return Permit(judge, parts.trust, parts.identity, approvals, Registry.load(parts.skills).find)
