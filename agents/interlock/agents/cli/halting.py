"""`interlock halt`, `resume`, `halts`: signed with a human's key, stored, announced (GOV-07)."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from interlock.agents.cli.session import Session, find_goal
from interlock.agents.errors import UserError
from interlock.agents.trace.render import visible
from interlock.agents.workspace.keys import load_key, load_trust
from interlock.bus.control.giving import give_order, halts_of
from interlock.bus.control.orders import SCOPES, ControlOrder, Verb, may_give, nobody_in, scope_problem
from interlock.bus.errors import Unavailable
from interlock.bus.sender import Identity
from interlock.bus.transport import Transport
from interlock.envelope.ids import is_agent_id, is_uuid7
from interlock.envelope.trust import Trust


class Given(Struct, frozen=True):
    """order: as it was stored; others: the halts still in force."""

    order: ControlOrder
    others: list[ControlOrder]


async def give(session: Session, verb: Verb, scope: str, why: str, by: str) -> int:
    """Exit 0 once the order is stored; actors that cannot hear of it stop when their control lease runs out."""
    _check(session, verb, scope, by)
    async with session.connected(offline=True) as transport:
        given = await order(session, transport, verb, scope, why, by)
    lease_ms = session.settings.control.lease_ms
    done = "halted" if verb == "halt" else "resumed"
    session.say(
        f"{done} {visible(given.order.scope)}; in force everywhere within {lease_ms} ms",
        told(given.order) | {"withinMs": lease_ms},
    )
    for other in given.others if verb == "resume" and not session.json else ():
        session.say(f"still {line(other)}")
    return 0


async def order(session: Session, transport: Transport, verb: Verb, scope: str, why: str, by: str) -> Given:
    """Signs with the key of `by`, stores and announces. Raises UserError, BusError."""
    trust, identity = _check(session, verb, scope, by)
    scope = await _whole(session, transport, scope)
    halts = await halts_of(transport, session.workspace, trust)
    if verb == "resume" and scope not in {order.scope for order in halts.in_force}:
        raise UserError("not_halted", f"{scope} is not halted", "`interlock halts` lists what is", 2)
    try:
        given = await give_order(transport, session.workspace, identity, verb, scope, why)
    except Unavailable as error:
        detail = f"announced, but not stored: {error}"
        raise UserError("not_stored", detail, "Repeat it when the broker is back; actors without it halt") from error
    halts.take(given, stored=True)
    return Given(given, halts.in_force)


def _check(session: Session, verb: Verb, scope: str, by: str) -> tuple[Trust, Identity]:
    """Raises UserError where every receiver would refuse the order, and for a halt that would stop nobody."""
    problem = nobody_in(scope) if verb == "halt" else ""
    if problem:
        raise UserError("bad_scope", visible(problem), f"Scopes: {SCOPES}", 2)
    if not is_agent_id(by):
        raise UserError("bad_usage", f"{by[:80]!r} is no agent", "Give human, or human.NAME", 2)
    trust = load_trust(session.layout)
    identity = Identity(by, load_key(session.layout, by))
    enrolled = trust.find(identity.key.key_id)
    if enrolled is None or not may_give(verb, scope, by, enrolled.capabilities):
        raise UserError("not_allowed", f"{by} may not {verb} {visible(scope)[:80]}", "Resuming needs a human's key", 2)
    return trust, identity


async def list_halts(session: Session) -> int:
    """Those in force, oldest first."""
    orders = await halts_in_force(session)
    if session.json:
        session.say("", [told(order) for order in orders])
        return 0
    for order in orders:
        session.say(line(order))
    if not orders:
        session.say("nothing is halted")
    return 0


async def halts_in_force(session: Session, transport: Transport | None = None) -> list[ControlOrder]:
    """Empty where there is no trust store yet, for then nobody can have halted anything. Raises UserError, BusError."""
    if not session.layout.trust.exists():
        return []
    trust = load_trust(session.layout)
    if transport is not None:
        return (await halts_of(transport, session.workspace, trust)).in_force
    async with session.connected(offline=True) as connected:
        return (await halts_of(connected, session.workspace, trust)).in_force


def line(order: ControlOrder) -> str:
    """One halt for people."""
    return f"halted {visible(order.scope)} by {order.by} since {order.at}: {visible(order.why) or 'no reason given'}"


def concerning(orders: list[ControlOrder], goal_id: str) -> list[ControlOrder]:
    """Those that may keep a goal from going on: all but the halts of other goals."""
    return [order for order in orders if not order.scope.startswith("goal:") or order.scope == f"goal:{goal_id}"]


async def _whole(session: Session, transport: Transport, scope: str) -> str:
    """The scope with its goal's id written out. Raises UserError."""
    kind, _, name = scope.partition(":")
    if kind == "goal" and name and not is_uuid7(name):
        return f"goal:{(await find_goal(transport, session.workspace, name)).goal_id}"
    problem = scope_problem(scope)
    if problem:
        raise UserError("bad_scope", visible(problem), f"Scopes: {SCOPES}", 2)
    return scope


def told(order: ControlOrder) -> dict[str, Any]:
    """The same for machines."""
    return {
        "scope": order.scope,
        "verb": order.verb,
        "why": order.why,
        "by": order.by,
        "at": order.at,
        "number": order.number,
        "workspace": order.workspace,
    }
