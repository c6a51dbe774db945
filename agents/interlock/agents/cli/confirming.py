"""What KV `goals` says of an ended goal, against what its orchestrator signed. Whoever may write the bucket, or plays back
what stood there, can show a reader something else; the completion is a signed hop.
"""

from __future__ import annotations

from interlock.agents.cli.session import Session
from interlock.agents.errors import UserError
from interlock.agents.status import GoalStatus
from interlock.agents.workspace.keys import load_trust
from interlock.bus.errors import NotFound
from interlock.bus.streams import HOPS
from interlock.bus.transport import Transport
from interlock.envelope.ids import role_of
from interlock.envelope.payloads import Completion
from interlock.envelope.subjects import role_subject
from interlock.envelope.trust import Trust
from interlock.envelope.verification import Limits, check_signature, decode

MEND = "`interlock trace GOAL` shows what was signed; somebody else wrote KV `goals`"


async def contradiction(transport: Transport, status: GoalStatus, trust: Trust, limits: Limits) -> str:
    """In what the status of an ended goal is not what was signed; empty if it is, or if the goal goes on. A goal whose
    deadline has passed may have no completion: nothing may be sent of it then. It was not released. Raises BusError.
    """
    if status.phase != "ended":
        return ""
    signed = await signed_completion(transport, status, trust, limits)
    if signed is None:
        return "no completion of it is signed" if status.outcome == "released" else ""
    if signed.outcome != status.outcome:
        return f"signed is that it ended {signed.outcome}, not {status.outcome}"
    return "" if signed.deliverable == status.deliverable else "signed is another deliverable"


async def confirm(session: Session, transport: Transport, status: GoalStatus) -> None:
    """Raises UserError for a status that is not what was signed, BusError."""
    problem = await contradiction(transport, status, load_trust(session.layout), session.settings.hops.limits)
    if problem:
        raise UserError("not_confirmed", f"goal {status.goal_id}: {problem}", MEND, 1)


async def signed_completion(
    transport: Transport, status: GoalStatus, trust: Trust, limits: Limits
) -> Completion | None:
    """The last one that an orchestrator's key signed."""
    subject = role_subject(status.workspace, "human", status.goal_id, "complete")
    found: Completion | None = None
    try:
        async for message in transport.read(HOPS.name, [subject]):
            envelope = decode(message.data, limits).envelope
            if envelope is None or role_of(envelope.sender) != "orchestrator":
                continue
            holds = check_signature(envelope, trust, message.stored_ms).ok and envelope.goal_id == status.goal_id
            if holds and isinstance(envelope.payload, Completion):
                found = envelope.payload
    except NotFound:
        return None
    return found
