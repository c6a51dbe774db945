"""What KV `goals` says of a goal, against what its orchestrator signed. Whoever may write the bucket, or plays back
what stood there, can show a reader something else; the completion is a signed hop. And what an orchestrator calls released,
against what the others signed: a completion is sent to a human, who refuses one that nothing stands behind.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from interlock.agents.audit.auditor import goal_messages, is_truncated
from interlock.agents.audit.hop_graph import audit_hops
from interlock.agents.audit.release import release_problems
from interlock.agents.cli.session import Session
from interlock.agents.contract.store import load_contract, stored_versions
from interlock.agents.errors import UserError
from interlock.agents.status import GoalStatus
from interlock.agents.workspace.keys import load_trust
from interlock.bus.errors import NotFound
from interlock.bus.streams import HOPS
from interlock.bus.transport import Transport
from interlock.envelope.contract_chain import Chain
from interlock.envelope.ids import role_of
from interlock.envelope.payloads import Completion, Intake
from interlock.envelope.subjects import workspace_subject
from interlock.envelope.trust import Trust
from interlock.envelope.verification import Limits, check_route, check_signature, decode

# A status is told after the completion is sent; later than this it is behind, or somebody holds it back.
BEHIND_MS = 10_000
UNFOUNDED_MEND = "`interlock deviations` and `interlock trace GOAL`: whoever releases goals cannot be relied on"
MEND = "`interlock trace GOAL` shows what was signed; somebody else wrote KV `goals`"


class Signed(Struct, frozen=True):
    """A completion as an orchestrator's key signed it, and when the broker stored it."""

    completion: Completion
    stored_ms: int


async def contradiction(transport: Transport, status: GoalStatus, trust: Trust, limits: Limits) -> str:
    """In what the status of a goal is not what was signed; empty if it is. Raises BusError."""
    signed = await signed_completions(transport, status.workspace, trust, limits, status.goal_id)
    return problem_of(status, signed.get(status.goal_id), transport.clock.now_ms())


async def unfounded(transport: Transport, status: GoalStatus, trust: Trust, limits: Limits, chain: Chain | None) -> str:
    """What a release takes and this one did not have, from the goal's signed hops; empty for whatever was not released, and for a
    goal whose beginning the stream does not hold any more. Raises BusError.
    """
    if status.outcome != "released":
        return ""
    messages = await goal_messages(transport, status.workspace, status.goal_id)
    if is_truncated(messages):
        return "it has more hops than are looked at"
    audit = audit_hops(messages, trust, limits)
    said = [hop.envelope.payload for hop in audit.hops if hop.verified and hop.envelope is not None]
    problems = release_problems(audit, chain) if any(isinstance(one, Intake) for one in said) else []
    return f"released, but {'; '.join(problems)}" if problems else ""


async def problem_and_mend(session: Session, transport: Transport, status: GoalStatus) -> tuple[str, str]:
    """Why the status of a goal is not to be believed, and what then; empty if it is. Raises UserError, BusError."""
    trust, limits = load_trust(session.layout), session.settings.hops.limits
    wrong = await contradiction(transport, status, trust, limits)
    if wrong:
        return wrong, MEND
    chain = load_contract(session.layout) if stored_versions(session.layout) else None
    return await unfounded(transport, status, trust, limits, chain), UNFOUNDED_MEND


async def contradictions(
    transport: Transport, workspace: str, statuses: Sequence[GoalStatus], trust: Trust, limits: Limits
) -> dict[str, str]:
    """Those of many goals, in one reading, by goal; only goals with one. Raises BusError."""
    signed = await signed_completions(transport, workspace, trust, limits) if statuses else {}
    now_ms = transport.clock.now_ms()
    found = {status.goal_id: problem_of(status, signed.get(status.goal_id), now_ms) for status in statuses}
    return {goal_id: problem for goal_id, problem in found.items() if problem}


def problem_of(status: GoalStatus, signed: Signed | None, now_ms: int) -> str:
    """A goal whose deadline has passed may have no completion: nothing may be sent of it then. It was not released. Pure."""
    if status.phase != "ended":
        is_old = signed is not None and now_ms - signed.stored_ms > BEHIND_MS
        return f"signed is that it ended {signed.completion.outcome}" if signed is not None and is_old else ""
    if signed is None:
        return "no completion of it is signed" if status.outcome == "released" else ""
    if signed.completion.outcome != status.outcome:
        return f"signed is that it ended {signed.completion.outcome}, not {status.outcome}"
    return "" if signed.completion.deliverable == status.deliverable else "signed is another deliverable"


async def confirm(session: Session, transport: Transport, status: GoalStatus) -> None:
    """Raises UserError for a status that is not what was signed, and for a release that lacks what one takes; BusError."""
    problem, mend = await problem_and_mend(session, transport, status)
    if problem:
        raise UserError("not_confirmed", f"goal {status.goal_id}: {problem}", mend, 1)


async def signed_completions(
    transport: Transport, workspace: str, trust: Trust, limits: Limits, goal_id: str = "*"
) -> dict[str, Signed]:
    """The last one of each goal that an orchestrator's key signed."""
    found: dict[str, Signed] = {}
    try:
        async for message in transport.read(
            HOPS.name, [workspace_subject(workspace, "role", "human", goal_id, "complete")]
        ):
            envelope = decode(message.data, limits).envelope
            if envelope is None or role_of(envelope.sender) != "orchestrator":
                continue
            true = (
                check_signature(envelope, trust, message.stored_ms).ok and check_route(envelope, message.subject, "").ok
            )
            if true and isinstance(envelope.payload, Completion):
                found[envelope.goal_id] = Signed(envelope.payload, message.stored_ms)
    except NotFound:
        return {}
    return found
