"""A human's side of an approval: find the request as it was signed, look at what it asks, decide, sign (GOV-06)."""

from __future__ import annotations

from contextlib import aclosing

from msgspec import UNSET, Struct

from interlock.agents.errors import UserError
from interlock.agents.goal.approving import plan_arguments
from interlock.bus.authority import judge
from interlock.bus.sender import Sender
from interlock.bus.streams import HOPS
from interlock.bus.transport import Message, Transport
from interlock.envelope.approval import PLAN_START, action_of
from interlock.envelope.children import ChildRefused, Draft, Origin, exceeds, origin_of
from interlock.envelope.model import Envelope
from interlock.envelope.payloads import ApprovalRequest, HumanDecision, Intake, PlanDraft
from interlock.envelope.subjects import workspace_subject
from interlock.envelope.trust import Trust
from interlock.envelope.verdict import ALLOW, Reason, Verdict, deny
from interlock.envelope.verification import Limits, check_route, check_signature, decode


class Asked(Struct, frozen=True):
    """A verified request: its place in the goal's graph, what it asks, and the plan it is about, if it is about one."""

    origin: Origin
    request: ApprovalRequest
    plan: PlanDraft | None


async def find_request(
    transport: Transport, workspace: str, goal_id: str, approval_id: str, trust: Trust, limits: Limits
) -> Asked:
    """The request as the orchestrator signed it, from the stream, never from what a view says of it. Raises UserError
    when there is none, or when it does not ask for what it shows.
    """
    asked: Asked | None = None
    plan: PlanDraft | None = None
    begun: Origin | None = None
    subject = workspace_subject(workspace, "role", "*", goal_id, "*")
    async with aclosing(transport.read(HOPS.name, [subject])) as messages:
        async for message in messages:
            envelope, digest = _verified(message, trust, limits)
            payload = envelope.payload if envelope is not None else None
            if envelope is not None and isinstance(payload, Intake) and envelope.parent_id is UNSET:
                begun = origin_of(envelope, digest)
            if isinstance(payload, PlanDraft):
                plan = payload
            if envelope is not None and isinstance(payload, ApprovalRequest) and payload.approval_id == approval_id:
                asked = Asked(origin_of(envelope, digest), payload, plan)
    if asked is None:
        raise UserError("unknown_approval", f"no request {approval_id} was signed here", "`interlock approvals`", 2)
    verdict = judge_request(asked, begun)
    if not verdict.allowed:
        ground = verdict.grounds[0]
        raise UserError(ground.code, ground.message, "Do not approve it; look at it with `interlock trace`", 2)
    return asked


def judge_request(asked: Asked, begun: Origin | None) -> Verdict:
    """Whether the digest that a human would sign is that of what the human is shown, and the request is one of the goal that
    the gateway began. Pure.
    """
    request, origin = asked.request, asked.origin
    wider = exceeds(origin, begun) if begun is not None else "no gateway signed its goal"
    if wider:
        return deny(Reason.BAD_PARENT, f"the request goes beyond its goal: {wider}", rule="ENV-06")
    action = action_of(request.operation, request.target, request.arguments, origin.policy_context)
    if action.digest != request.action_digest:
        return deny("approval_mismatch", "the request's digest is not that of the action it shows", rule="GOV-06")
    if request.operation == PLAN_START and (
        asked.plan is None or plan_arguments(asked.plan, origin)["plan"] != request.arguments.get("plan")
    ):
        return deny("approval_mismatch", "the plan reviewed in this goal is not the one asked for", rule="GOV-06")
    return ALLOW


async def send_decision(sender: Sender, asked: Asked, *, allows: bool, reason: str, now_ms: int) -> None:
    """Signs and publishes the decision, a child of the request. Raises UserError when its time is up, BusError."""
    decision = HumanDecision(
        about=asked.request.approval_id,
        decision="allow" if allows else "deny",
        reason=reason[:2000],
        by=sender.identity.agent,
        action_digest=asked.request.action_digest,
    )
    draft = Draft(to="orchestrator", intent="observe", payload=decision, step=f"decision:{decision.decision}")
    try:
        await sender.send(asked.origin, [draft], now_ms=now_ms)
    except ChildRefused as error:
        told = f"approval {asked.request.approval_id} timed out at {asked.request.expires_at}"
        raise UserError("approval_timed_out", told, "Submit the goal again", 2) from error


def _verified(message: Message, trust: Trust, limits: Limits) -> tuple[Envelope | None, str]:
    checked = decode(message.data, limits)
    envelope = checked.envelope
    if not checked.ok or envelope is None:
        return None, ""
    true = check_signature(envelope, trust, message.stored_ms).ok and check_route(envelope, message.subject, "").ok
    return (envelope, checked.digest) if true and judge(envelope).allowed else (None, "")
