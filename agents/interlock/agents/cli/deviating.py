"""`interlock deviations` and `deviations resolve`: what is open with its clock, and a human's word that it is mended."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from msgspec import Struct

from interlock.agents.cli.session import Session
from interlock.agents.deviations.book import Book, statement_subject
from interlock.agents.deviations.fold import Deviation, State, fold, standing
from interlock.agents.deviations.statement import sign_statement
from interlock.agents.deviations.watch import after, believed
from interlock.agents.errors import UserError
from interlock.agents.trace.render import visible
from interlock.agents.workspace.keys import load_key, load_trust
from interlock.bus.control.giving import give_order, halts_of
from interlock.bus.records import Seals
from interlock.bus.sender import Identity
from interlock.bus.streams import AUDIT
from interlock.bus.transport import Transport
from interlock.envelope.amounts import timestamp
from interlock.envelope.ids import is_agent_id, role_of
from interlock.envelope.keys import SigningKey
from interlock.envelope.trust import Trust


class _Trusted(Struct, frozen=True):
    trust: Trust


class Settled(Struct, frozen=True):
    """resumed: the scope that its resolution resumed, empty for none."""

    id: str
    resumed: str


async def list_deviations(session: Session, every: bool) -> int:
    """Open ones, oldest first; every: closed ones too."""
    trust, identity = load_trust(session.layout), Identity("human", load_key(session.layout, "human"))
    async with session.connected(offline=True) as transport:
        state = await deviations_of(transport, session.workspace, trust, identity)
        now_ms = transport.clock.now_ms()
    shown = [one for one in state.values() if every or one.is_open]
    if session.json:
        session.say("", [value_of(one, now_ms) for one in shown])
        return 0
    for one in shown:
        session.say(line(one, now_ms))
    if not shown:
        session.say("no deviation is open")
    return 0


async def open_deviations(session: Session, transport: Transport) -> list[Deviation]:
    """Oldest first; empty where there is no trust store yet, for then no auditor can have opened any. Raises UserError,
    BusError.
    """
    if not session.layout.trust.exists():
        return []
    # To read what auditors sealed needs no key of one's own.
    nobody = Identity("human", SigningKey.generate())
    state = await deviations_of(transport, session.workspace, load_trust(session.layout), nobody)
    return [one for one in state.values() if one.is_open]


async def resolve(session: Session, name: str, why: str, by: str) -> int:
    """Says so in AUDIT, signed, and resumes what the deviation halted. Exit 2 if it is not open or `by` is no human."""
    _signer(session, why, by)
    async with session.connected(offline=True) as transport:
        settled = await settle(session, transport, name, why, by)
    also = f"; resumed {settled.resumed}" if settled.resumed else ""
    session.say(f"resolved {settled.id}{also}", {"id": settled.id, "resumed": settled.resumed})
    return 0


async def settle(session: Session, transport: Transport, name: str, why: str, by: str) -> Settled:
    """A human's signed word that a deviation is mended. Raises UserError, BusError."""
    trust, identity = _signer(session, why, by)
    workspace = session.workspace
    state = await deviations_of(transport, workspace, trust, identity)
    found = [one for one in state.values() if one.is_open and one.id.startswith(name)]
    if len(found) != 1:
        told = f"{len(found)} open deviations begin with {visible(name)[:64]!r}"
        raise UserError("unknown_deviation", told, "`interlock deviations` lists what is open", 2)
    one = found[0]
    data = sign_statement(
        identity.key,
        workspace=workspace,
        verb="resolve",
        subject=one.id,
        why=why,
        by=by,
        at_ms=transport.clock.now_ms(),
    )
    await transport.publish(statement_subject(workspace), data)
    others = {other.halts for other in state.values() if other.is_open and other.id != one.id}
    halted = {order.scope for order in (await halts_of(transport, workspace, trust)).in_force}
    resumed = one.halts if one.halts in halted and one.halts not in others else ""
    if resumed:
        await give_order(transport, workspace, identity, "resume", resumed, f"deviation {one.id} is resolved")
    return Settled(one.id, resumed)


def _signer(session: Session, why: str, by: str) -> tuple[Trust, Identity]:
    """Raises UserError for who may not, and for what needs a reason."""
    if not is_agent_id(by) or role_of(by) != "human":
        raise UserError("not_allowed", f"{visible(by)[:80]} is no human", "Give --as human, or human.NAME", 2)
    if not why.strip():
        raise UserError("bad_usage", "a resolution needs a reason", "Give --why TEXT", 2)
    return load_trust(session.layout), Identity(by, load_key(session.layout, by))


async def report_determinism(session: Session, transport: Transport, goal_id: str, per_mille: int) -> None:
    """States in AUDIT, signed, how much of a replayed goal agreed; the auditor judges it. Raises UserError, BusError."""
    data = sign_statement(
        load_key(session.layout, "human"),
        workspace=session.workspace,
        verb="report",
        subject=goal_id,
        per_mille=per_mille,
        why="a replay",
        by="human",
        at_ms=transport.clock.now_ms(),
    )
    await transport.publish(statement_subject(session.workspace), data)


async def deviations_of(transport: Transport, workspace: str, trust: Trust, identity: Identity) -> State:
    """As the auditor wrote them, and as statements that it has not taken up yet leave them. Raises BusError."""
    book = Book(transport, workspace, Seals(Identity("auditor", identity.key), _Trusted(trust)))
    state = await book.refresh()
    async with aclosing(transport.read(AUDIT.name, [statement_subject(workspace)])) as messages:
        async for message in messages:
            said = believed(message, trust)
            if said is not None and said.verb == "resolve":
                for event in after(said, message, message.stored_ms, state):
                    state = fold(state, event)
    return state


def line(one: Deviation, now_ms: int) -> str:
    """For people."""
    if one.is_open:
        late = "ESCALATED  " if one.escalated_ms else ""
        return f"{one.id}  {late}since {timestamp(one.opened_ms)}  {visible(standing(one, now_ms))}"
    return (
        f"{one.id}  resolved {timestamp(one.resolved_ms)} by {one.by}: {visible(one.why)}  ({one.kind} of {one.about})"
    )


def value_of(one: Deviation, now_ms: int) -> dict[str, Any]:
    """For machines; times RFC 3339 UTC, empty: not yet."""
    times = {
        "openedAt": one.opened_ms,
        "deadlineAt": one.deadline_ms,
        "actedAt": one.acted_ms,
        "alertedAt": one.alerted_ms,
        "statusAt": one.status_ms,
        "escalatedAt": one.escalated_ms,
        "resolvedAt": one.resolved_ms,
    }
    return {
        "id": one.id,
        "kind": one.kind,
        "about": one.about,
        "halts": one.halts,
        "detail": one.detail,
        "evidence": one.evidence,
        "leftMs": one.deadline_ms - now_ms if one.is_open else 0,
        "by": one.by,
        "why": one.why,
        **{name: timestamp(at) if at else "" for name, at in times.items()},
    }
