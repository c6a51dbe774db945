"""One goal as the bus holds it: status, verified hops, budget. Read once for all who look, and on from where it stood."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from interlock.agents.audit.hop_graph import HopAudit
from interlock.agents.cli.budgeting import Ledger
from interlock.agents.cli.budgeting import value_of as budget_of
from interlock.agents.console.desk import Desk
from interlock.agents.errors import UserError
from interlock.agents.status import AuditStatus, GoalStatus, read_audit, read_status
from interlock.agents.trace.tree import Branch, branches_of
from interlock.bus.ledger.client import goal_scope
from interlock.bus.ledger.stored import stored_balance
from interlock.bus.records import Seals
from interlock.bus.sender import Identity
from interlock.bus.streams import HOPS
from interlock.envelope.amounts import timestamp
from interlock.envelope.keys import SigningKey
from interlock.envelope.payloads import Intake
from interlock.envelope.subjects import role_subject


class Goal(Struct, frozen=True, kw_only=True):
    """branches: every hop in stream order; budget: as `interlock budget` tells it, None without one."""

    status: GoalStatus
    audited: AuditStatus | None
    audit: HopAudit
    branches: list[Branch]
    budget: dict[str, Any] | None


async def read_goal(desk: Desk, goal_id: str) -> Goal:
    """Raises UserError (unknown_goal), BusError."""

    async def load() -> Goal:
        status = await read_status(desk.transport, desk.workspace, goal_id)
        intake = role_subject(desk.workspace, "orchestrator", goal_id, "plan")
        if status is None and await desk.transport.last(HOPS.name, intake) is None:
            raise _unknown(goal_id)
        audit = await desk.hops.audit(desk.transport, desk.workspace, goal_id, desk.trust, desk.limits)
        return Goal(
            status=status or _accepted(desk.workspace, goal_id, audit),
            audited=await read_audit(desk.transport, desk.workspace, goal_id),
            audit=audit,
            branches=branches_of(audit.hops),
            budget=await _budget(desk, goal_id),
        )

    return await desk.kept.get(f"goal.{goal_id}", "goal", load)


def _accepted(workspace: str, goal_id: str, audit: HopAudit) -> GoalStatus:
    """Of a goal that its orchestrator has not taken up yet, as its intake tells it. Raises UserError if nothing verified does."""
    for hop in audit.hops:
        if hop.verified and hop.envelope is not None and isinstance(hop.envelope.payload, Intake):
            goal = hop.envelope.payload.goal
            at = timestamp(hop.stored_ms)
            return GoalStatus(goal_id=goal_id, workspace=workspace, goal=goal, phase="accepted", started_at=at)
    raise _unknown(goal_id)


def _unknown(goal_id: str) -> UserError:
    return UserError("unknown_goal", f"there is no goal {goal_id}", "The goals page lists them", 2)


def ledger_seals(desk: Desk) -> Seals:
    """To read by: whose seals count follows from the trust store; nothing is signed with this key."""
    return Ledger(desk.trust).seals(Identity("human", SigningKey(bytes(32))))


async def _budget(desk: Desk, goal_id: str) -> dict[str, Any] | None:
    found = await stored_balance(desk.transport, desk.workspace, goal_scope(goal_id), ledger_seals(desk))
    if found is None:
        return None
    balance, stored_ms, began_ms = found
    return budget_of(balance, began_ms, stored_ms if balance.ended else desk.now_ms)
