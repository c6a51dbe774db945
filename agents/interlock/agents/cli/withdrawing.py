"""Taking back what a goal asks of humans, because whoever handed it in does not want it any more."""

from __future__ import annotations

import msgspec

from interlock.agents.approvals.view import BUCKET, ApprovalStatus
from interlock.agents.cli.approving import Signer
from interlock.agents.cli.halting import order
from interlock.agents.cli.session import Session
from interlock.agents.errors import UserError
from interlock.bus.kv import kv_entries
from interlock.bus.transport import Transport

TOO_LATE = "approval_timed_out"
NOT_ENTITLED = "not_entitled"


async def withdraw_approvals(session: Session, transport: Transport, goal_id: str, why: str) -> bool:
    """Refuses, with this workspace's human key, what the goal waits for; where that key may not decide, the goal is halted.
    Whether it was halted, so that it may never end. Raises UserError, BusError.
    """
    prefix = f"{session.workspace}.{goal_id}"
    latest = {
        entry.key: msgspec.json.decode(entry.value, type=ApprovalStatus)
        async for entry in kv_entries(transport, BUCKET, prefix)
    }
    for status in latest.values():
        if status.state != "pending":
            continue
        signer = Signer(session, "human")
        try:
            asked = await signer.find(transport, status)
            await signer.decide(transport, status, asked, allows=False, reason=why)
        except UserError as error:
            if error.reason == NOT_ENTITLED:
                await order(session, transport, "halt", f"goal:{goal_id}", why, "human")
                return True
            if error.reason != TOO_LATE:
                raise
    return False
