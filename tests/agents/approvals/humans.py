"""Humans, as the tests of approvals need them."""

from __future__ import annotations

from typing import Any

import anyio

from interlock.agents.approvals.deciding import find_request, send_decision
from interlock.agents.approvals.view import ApprovalStatus, read_approval, read_approvals
from interlock.bus.sender import Sender
from interlock.envelope.verification import Limits


async def asked(house: Any, goal_id: str, number: int = 1) -> ApprovalStatus:
    """The goal's n-th approval, once it is told."""
    with anyio.fail_after(10):
        while True:
            found = [
                entry for entry in await read_approvals(house.transport, house.workspace) if entry.goal_id == goal_id
            ]
            if len(found) >= number:
                return found[number - 1]
            await anyio.sleep(0.005)


async def decide(
    house: Any, status: ApprovalStatus, human: str = "human", *, allows: bool = True, reason: str = "so it is"
) -> None:
    found = await find_request(
        house.transport, house.workspace, status.goal_id, status.approval_id, house.keys.trust, Limits()
    )
    sender = Sender(house.transport, house.identity(human))
    await send_decision(sender, found, allows=allows, reason=reason, now_ms=house.transport.clock.now_ms())


async def told(house: Any, status: ApprovalStatus, state: str) -> ApprovalStatus:
    with anyio.fail_after(10):
        while True:
            found = await read_approval(house.transport, house.workspace, status.goal_id, status.approval_id)
            if found is not None and found.state == state:
                return found
            await anyio.sleep(0.005)
