"""`interlock budget [GOAL]`: limits, used, reserved, left and burn rate of the workspace's day or of a goal (GOV-05)."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from interlock.agents.cli.session import Session, find_goal
from interlock.agents.contract.store import load_contract
from interlock.agents.errors import UserError
from interlock.agents.workspace.keys import load_key, load_trust
from interlock.bus.ledger.balance import Balance, used_percent
from interlock.bus.ledger.client import day_scope, goal_scope, kind_scope
from interlock.bus.ledger.stored import stored_balance
from interlock.bus.records import Seals
from interlock.bus.sender import Identity
from interlock.bus.transport import Transport
from interlock.envelope.amounts import MAX_INT, Amount, timestamp
from interlock.envelope.kind_quota import KindQuota
from interlock.envelope.trust import Trust

HOUR_MS = 3_600_000
MIN_SPAN_MS = 1_000
QUOTA = ("kind", "skills", "perTask", "perDay")


class Ledger(Struct, frozen=True):
    """Whose balances are believed: a gateway's of this trust store (a gates.TrustSource)."""

    trust: Trust

    def seals(self, identity: Identity) -> Seals:
        return Seals(Identity("gateway", identity.key), self)


def burn_per_hour(used: Amount, began_ms: int, until_ms: int) -> Amount:
    """What is used in an hour at the pace so far; a scope younger than a second counts as a second old."""
    span_ms = max(until_ms - began_ms, MIN_SPAN_MS)
    return Amount(
        used.tokens * HOUR_MS // span_ms,
        used.usd_micro * HOUR_MS // span_ms,
        used.wall_ms * HOUR_MS // span_ms,
        used.actions * HOUR_MS // span_ms,
    )


async def show_budget(session: Session, name: str) -> int:
    """Exit 0; 2 for a goal that has no budget of its own (any more)."""
    trust = load_trust(session.layout)
    seals = Ledger(trust).seals(Identity("human", load_key(session.layout, "human")))
    async with session.connected(offline=True) as transport:
        now_ms = transport.clock.now_ms()
        scope = day_scope(now_ms)
        if name:
            scope = goal_scope((await find_goal(transport, session.workspace, name)).goal_id)
        told = await _told(transport, session.workspace, scope, seals, now_ms)
        kinds = [] if name else await _kinds(transport, session, seals, now_ms)
    if told is None and name:
        raise UserError("no_budget", f"{scope} has no balance", "`interlock goals` lists the goals", 2)
    value = told or {"scope": scope, "limit": None}
    session.say("\n".join(map(_text, [value, *kinds])), value if name else value | {"kinds": kinds})
    return 0


async def _kinds(transport: Transport, session: Session, seals: Seals, now_ms: int) -> list[dict[str, Any]]:
    """Today of every kind of work that the contract limits."""
    told = []
    for one in load_contract(session.layout).head.contract.quotas.kinds_of_work:
        scope = kind_scope(one.kind, timestamp(now_ms))
        value = await _told(transport, session.workspace, scope, seals, now_ms) or {"scope": scope, "limit": None}
        told.append(value | msgspec.to_builtins(one))
    return told


async def _told(transport: Transport, workspace: str, scope: str, seals: Seals, now_ms: int) -> dict[str, Any] | None:
    found = await stored_balance(transport, workspace, scope, seals)
    if found is None:
        return None
    balance, stored_ms, began_ms = found
    return value_of(balance, began_ms, stored_ms if balance.ended else now_ms)


def value_of(balance: Balance, began_ms: int, until_ms: int) -> dict[str, Any]:
    """For machines; amounts as on the wire."""
    burn = burn_per_hour(balance.used, began_ms, until_ms)
    parts = {
        "limit": balance.limit,
        "used": balance.used,
        "reserved": balance.reserved,
        "left": balance.left,
        "burnPerHour": burn,
    }
    return {
        "scope": balance.scope,
        "since": timestamp(began_ms),
        "percent": used_percent(balance),
        "alerted": balance.alerted,
        "breached": balance.breached,
        "refused": balance.refused,
        "ended": balance.ended,
        **{name: _units(amount) for name, amount in parts.items()},
    }


def _units(amount: Amount) -> dict[str, int]:
    """Integers, also below zero: what is left of an overspent budget."""
    return {
        "usdMicro": amount.usd_micro,
        "tokens": amount.tokens,
        "wallMs": amount.wall_ms,
        "actions": amount.actions,
    }


def _text(told: dict[str, Any]) -> str:
    quota = msgspec.convert({name: told[name] for name in QUOTA}, KindQuota) if "kind" in told else None
    bounds = "" if quota is None else f"  (one: {quota.per_task.told}; a day: {quota.per_day.told})"
    if told["limit"] is None:
        return f"{told['scope']}: nothing was asked of it yet{bounds}"
    standing = [
        name
        for name, is_so in (
            (f"alert {told['alerted']} %", told["alerted"]),
            ("over its limit", told["breached"]),
            ("refused what was not left", told["refused"]),
            ("ended", told["ended"]),
        )
        if is_so
    ]
    lines = [f"{told['scope']}  {told['percent']} % used or reserved  {', '.join(standing)}".rstrip() + bounds]
    lines.append(f"{'':<9}{'limit':>18}{'used':>18}{'reserved':>18}{'left':>18}{'per hour':>18}")
    for unit, title in (("usdMicro", "USD"), ("tokens", "tokens"), ("wallMs", "wall ms"), ("actions", "actions")):
        columns = [told[part][unit] for part in ("limit", "used", "reserved", "left", "burnPerHour")]
        shown = [f"{value / 1_000_000:.6f}" if unit == "usdMicro" else str(value) for value in columns]
        if told["limit"][unit] == MAX_INT:  # of a kind of work: not limited
            shown[0] = shown[3] = "-"
        lines.append(f"{title:<9}" + "".join(f"{value:>18}" for value in shown))
    return "\n".join(lines)
