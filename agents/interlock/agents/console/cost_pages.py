"""Costs by domain, agent, skill, model and goal, from the ledger's entries: every table adds up to the same total."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio.to_thread
from msgspec import Struct
from starlette.responses import Response

from interlock.agents.audit.auditor import goal_messages
from interlock.agents.audit.hop_graph import audit_hops
from interlock.agents.console.board import GoalRow
from interlock.agents.console.desk import Desk
from interlock.agents.console.goal_reading import ledger_seals
from interlock.agents.console.pages import part, render, shown, wants_part
from interlock.agents.console.sessions import Visit
from interlock.agents.costs.attribution import DIMENSIONS, Dimension, Item, Total, items_of, totals
from interlock.agents.costs.charges import read_account
from interlock.bus.ledger.client import day_scope
from interlock.bus.ledger.stored import stored_balance

if TYPE_CHECKING:
    from starlette.requests import Request

MOST_GOALS = 200
MOST_LINES = 50


class Costs(Struct, frozen=True, kw_only=True):
    """used: what the goals' scopes have used, by their own balances; tables: each adds up to it. goals: how many were
    looked at, of how many there are.
    """

    used: int
    tables: list[tuple[Dimension, list[Total]]]
    goals: int
    known: int
    day: tuple[int, int] | None


async def costs_of(desk: Desk) -> Costs:
    """Of the newest MOST_GOALS goals. Raises BusError."""

    async def load() -> Costs:
        rows = desk.feed.board.rows()
        items: list[Item] = []
        used = 0
        for row in rows[:MOST_GOALS]:
            spent, of_goal = await _of(desk, row)
            used += spent
            items += of_goal
        found = await stored_balance(desk.transport, desk.workspace, day_scope(desk.now_ms), ledger_seals(desk))
        day = None if found is None else (found[0].used.usd_micro, found[0].limit.usd_micro)
        tables = [(dimension, totals(items, dimension)) for dimension in DIMENSIONS]
        return Costs(used=used, tables=tables, goals=min(len(rows), MOST_GOALS), known=len(rows), day=day)

    return await desk.kept.get("goals", "costs", load)


async def _of(desk: Desk, row: GoalRow) -> tuple[int, list[Item]]:
    """(what its scope used, by its balance; its charges). Of an ended goal they are read once."""
    known = desk.ended_costs.get(row.goal_id)
    if known is not None:
        return known
    account = await read_account(desk.transport, desk.workspace, row.goal_id, ledger_seals(desk))
    if account is None:
        return 0, []
    messages = await goal_messages(desk.transport, desk.workspace, row.goal_id)
    audit = await anyio.to_thread.run_sync(audit_hops, messages, desk.trust, desk.limits)
    found = account.used.usd_micro, items_of(account, audit.hops)
    if account.ended and row.audited:
        while len(desk.ended_costs) >= MOST_GOALS:
            del desk.ended_costs[min(desk.ended_costs)]
        desk.ended_costs[row.goal_id] = found
    return found


async def _costs(desk: Desk, visit: Visit, request: Request) -> Response:
    values: dict[str, Any] = {"costs": await costs_of(desk), "most": MOST_LINES}
    if wants_part(request):
        return part("costs_live.html", **values)
    return render("costs.html", desk, visit, **values)


costs = shown(_costs)
