"""What the world may know of approvals: kept in KV `approvals`, written by the orchestrator, read by CLI and console.

A view: what counts is the goal's journal, and what proves an approval are its signed envelopes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct, field

from interlock.agents.approvals.book import State
from interlock.bus.kv import kv_entries, kv_get, kv_put
from interlock.envelope.amounts import timestamp
from interlock.envelope.payloads import Ground

if TYPE_CHECKING:
    from interlock.agents.approvals.book import Approval
    from interlock.bus.transport import Transport

BUCKET = "approvals"


class Told(Struct, frozen=True, rename="camel", kw_only=True):
    """One human's decision."""

    by: str
    decision: str
    reason: str
    at: str


class ApprovalStatus(Struct, frozen=True, rename="camel", kw_only=True):
    """One approval; times RFC 3339 UTC."""

    approval_id: str
    goal_id: str
    workspace: str
    operation: str
    target: str
    question: str
    state: State
    needed: int
    action_digest: str
    asked_at: str
    expires_at: str
    grounds: list[Ground] = field(default_factory=list)
    decisions: list[Told] = field(default_factory=list)


def status_of(approval: Approval, workspace: str, goal_id: str) -> ApprovalStatus:
    request = approval.request
    return ApprovalStatus(
        approval_id=request.approval_id,
        goal_id=goal_id,
        workspace=workspace,
        operation=request.operation,
        target=request.target,
        question=request.question,
        state=approval.state,
        needed=request.needed,
        action_digest=request.action_digest,
        asked_at=timestamp(approval.asked_ms),
        expires_at=request.expires_at,
        grounds=request.grounds,
        decisions=[
            Told(
                by=vote.by,
                decision="approved" if vote.allows else "rejected",
                reason=vote.reason,
                at=timestamp(vote.at_ms),
            )
            for vote in approval.votes
        ],
    )


async def write_approval(transport: Transport, status: ApprovalStatus) -> None:
    await kv_put(transport, BUCKET, _key(status.workspace, status.goal_id, status.approval_id), _encoded(status))


async def read_approval(transport: Transport, workspace: str, goal_id: str, approval_id: str) -> ApprovalStatus | None:
    entry = await kv_get(transport, BUCKET, _key(workspace, goal_id, approval_id))
    return None if entry is None else msgspec.json.decode(entry.value, type=ApprovalStatus)


async def read_approvals(transport: Transport, workspace: str) -> list[ApprovalStatus]:
    """All of the workspace that are remembered, oldest first."""
    latest = {
        entry.key: msgspec.json.decode(entry.value, type=ApprovalStatus)
        async for entry in kv_entries(transport, BUCKET, workspace)
    }
    return sorted(latest.values(), key=lambda status: (status.asked_at, status.approval_id))


def _key(workspace: str, goal_id: str, approval_id: str) -> str:
    return f"{workspace}.{goal_id}.{approval_id}"


def _encoded(status: ApprovalStatus) -> bytes:
    return msgspec.json.encode(status)
