"""The orchestrator's dealings with humans: who may decide, reminders that run out the time, what the world is told."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from interlock.agents.approvals.view import ApprovalStatus, status_of, write_approval
from interlock.agents.goal.approving import objection
from interlock.agents.goal.state import AnyEvent, ApprovalTimedOut, Decided, GoalState, Send
from interlock.bus.errors import BusError
from interlock.bus.gates import TrustSource
from interlock.bus.hop import Hop, Postpone, Refusal
from interlock.bus.schedules import due_subject, remind
from interlock.bus.streams import timers_of
from interlock.bus.transport import Incoming, Transport
from interlock.envelope.amounts import time_ms
from interlock.envelope.approval import capabilities_of, decider_of, judge_decider
from interlock.envelope.ids import is_uuid7
from interlock.envelope.payloads import ApprovalRequest, HumanDecision
from interlock.envelope.verdict import Reason

log = logging.getLogger("interlock.orchestrator")

REMINDER = "approval"
RETRY_MS = 1_000
# A reminder that comes this much early by our clock is the clocks' difference; an earlier one is somebody's invention.
SKEW_MS = 5_000

Happened = Callable[[str, ApprovalTimedOut], Awaitable[None]]


def decision_event(hop: Hop, trust: TrustSource) -> Decided:
    """The event of a human's decision. Raises Refusal for what is not a human's own answer to an approval request."""
    envelope, payload = hop.envelope, hop.envelope.payload
    if not isinstance(payload, HumanDecision) or not isinstance(payload.action_digest, str):
        raise Refusal(Reason.WRONG_PAYLOAD, "a decision on an approval names the digest of its action")
    if payload.decision == "needs_approval":
        raise Refusal(Reason.WRONG_PAYLOAD, "an approval is decided by allow or deny")
    verdict = judge_decider(envelope, trust.trust)
    if not verdict.allowed:
        raise Refusal(Reason.POLICY_DENIED, verdict.grounds[0].message)
    return Decided(
        cause=envelope.id,
        at_ms=hop.now_ms,
        approval_id=payload.about,
        decider=decider_of(envelope, trust.trust),
        capabilities=list(capabilities_of(envelope, trust.trust)),
        by=payload.by,
        allows=payload.decision == "allow",
        reason=payload.reason,
        action_digest=payload.action_digest,
        wire=hop.message.data.decode(),
    )


async def set_reminders(transport: Transport, workspace: str, sends: Sequence[Send]) -> None:
    """Before a request goes out, the broker knows when its time is up; again and again for a request sent again."""
    for send in sends:
        request = send.draft.payload
        if isinstance(request, ApprovalRequest):
            key = (send.parent.goal_id, request.approval_id)
            await remind(transport, workspace, REMINDER, *key, due_ms=time_ms(request.expires_at))


@asynccontextmanager
async def hearing_reminders(transport: Transport, workspace: str, happened: Happened) -> AsyncIterator[None]:
    """While the context lasts, reminders that come due are told to their goals."""
    prefix = due_subject(workspace, REMINDER)

    async def on_incoming(incoming: Incoming) -> None:
        goal_id, _, approval_id = incoming.message.subject.removeprefix(prefix + ".").partition(".")
        if not (is_uuid7(goal_id) and is_uuid7(approval_id)):
            await incoming.terminate("no reminder of an approval")
            return
        event = ApprovalTimedOut(
            cause=f"timeout:{approval_id}", at_ms=transport.clock.now_ms(), approval_id=approval_id
        )
        try:
            await happened(goal_id, event)
        except TooEarly as early:
            if early.left_ms <= SKEW_MS:
                await incoming.retry(early.left_ms)
            else:
                log.warning("a reminder of approval %s came %s ms early: ignored", approval_id, early.left_ms)
                await incoming.ack()
        except Postpone as error:
            log.warning("reminder of approval %s: %s", approval_id, error)
            await incoming.retry(RETRY_MS)
        except BusError as error:
            log.warning("reminder of approval %s: %s", approval_id, error)
            await incoming.retry(RETRY_MS)
        else:
            await incoming.ack()

    async with transport.consume(timers_of(workspace), on_incoming, concurrency=8):
        yield


class TooEarly(Exception):
    """A reminder of an approval that has time left by our clock."""

    def __init__(self, left_ms: int) -> None:
        super().__init__(f"{left_ms} ms early")
        self.left_ms = left_ms


def check(state: GoalState, event: AnyEvent) -> None:
    """What must not get into the journal. Raises Refusal for a decision that cannot count, TooEarly for a reminder that
    anybody could have made.
    """
    wrong = objection(state, event)
    if wrong:
        raise Refusal(Reason.POLICY_DENIED, wrong)
    if isinstance(event, ApprovalTimedOut):
        left_ms = state.approvals[event.approval_id].expires_ms - event.at_ms
        if left_ms > 0:
            raise TooEarly(left_ms)


async def tell_approvals(
    transport: Transport, workspace: str, goal_id: str, state: GoalState, told: dict[str, ApprovalStatus]
) -> None:
    """Writes what has changed of a goal's approvals to KV. told: what this process has written so far, brought up to
    date.
    """
    for approval_id, approval in state.approvals.items():
        status = status_of(approval, workspace, goal_id)
        if told.get(approval_id) != status:
            await write_approval(transport, status)
            told[approval_id] = status
