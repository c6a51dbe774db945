"""`interlock dead list`, `dead show`, `dead redrive`."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock.agents.cli.session import Session
from interlock.agents.dead.letters import Entry, read_letters
from interlock.agents.dead.redrive import Redriver
from interlock.agents.errors import UserError, one_line
from interlock.agents.trace.render import visible
from interlock.agents.workspace.keys import load_key, load_trust
from interlock.bus.sender import Identity
from interlock.envelope.amounts import timestamp
from interlock.envelope.ids import is_agent_id

SHOWN_BYTES = 2_000


async def list_letters(session: Session, role: str, reason: str) -> int:
    """Exit 0, also when there are none."""
    trust = load_trust(session.layout)
    async with session.connected(offline=True) as transport:
        entries = _chosen(await read_letters(transport, session.workspace, trust), role, reason)
    if session.json:
        session.say("", [told(entry) for entry in entries])
        return 0
    for entry in entries:
        session.say(_line(entry))
    if not entries:
        session.say("no dead letters")
    return 0


async def show_letter(session: Session, name: str) -> int:
    """Exit 2 if there is no such letter."""
    number, trust = _number(name), load_trust(session.layout)
    async with session.connected(offline=True) as transport:
        entry = _find(await read_letters(transport, session.workspace, trust), number)
    whole = told(entry) | ({} if entry.letter is None else msgspec.to_builtins(entry.letter))
    lines = [f"  {name}: {visible(str(value))}" for name, value in whole.items() if name not in ("data", "detail")]
    lines += [f"  detail: {visible(part)}" for part in whole["detail"].splitlines()]
    text = entry.original[:SHOWN_BYTES].decode(errors="replace")
    lines += [f"  | {visible(text[at : at + 300])}" for at in range(0, len(text), 300)]
    if len(entry.original) > SHOWN_BYTES:
        lines.append(f"  | … of {len(entry.original)} bytes")
    session.say("\n".join([_line(entry), *lines]), whole)
    return 0


async def redrive(
    session: Session, names: tuple[str, ...], *, everything: bool, role: str, reason: str, why: str, agent: str
) -> int:
    """Exit 0 all were put back, 2 at least one could not be. Raises UserError, BusError."""
    if bool(names) == everything or (names and (role or reason)):
        raise UserError("bad_usage", "either letters, or --all", "`interlock dead redrive 17`, or --all --role ROLE", 2)
    if not is_agent_id(agent):
        raise UserError("bad_usage", f"{agent[:80]!r} is no agent", "Give human, or human.NAME", 2)
    numbers, trust = list(dict.fromkeys(_number(name) for name in names)), load_trust(session.layout)
    identity = Identity(agent, load_key(session.layout, agent))
    done: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    async with session.connected() as transport:
        redriver = Redriver(transport, session.workspace, identity, trust, session.settings.hops.limits, why)
        entries = await read_letters(transport, session.workspace, trust)
        if everything:
            chosen = [entry for entry in _chosen(entries, role, reason) if entry.order is None]
        else:
            chosen = [_find(entries, number) for number in numbers]
        for entry in chosen:
            try:
                put = await redriver.put_back(entry)
            except UserError as error:
                if error.exit_code != 2:
                    raise
                refused.append({"id": entry.id, "reason": error.reason, "detail": one_line(error)})
                _say(session, f"not put back: {one_line(error)}")
                continue
            done.append({"id": entry.id, "became": put.became, "by": put.order.by, "at": put.order.at})
            _say(session, f"put back {entry.id} as {put.became}")
    session.say(f"{len(done)} put back, {len(refused)} not", {"redriven": done, "refused": refused})
    return 2 if refused else 0


def told(entry: Entry) -> dict[str, Any]:
    """For machines."""
    letter, order = entry.letter, entry.order
    return {
        "id": entry.id,
        "role": entry.role,
        "reason": entry.reason,
        "readable": letter is not None,
        "goalId": entry.goal_id,
        "detail": "" if letter is None else letter.detail,
        "storedAt": timestamp(entry.stored_ms),
        "redriven": None if order is None else {"by": order.by, "at": order.at, "why": order.why, "as": entry.became},
    }


def _line(entry: Entry) -> str:
    """For people."""
    place = f"{entry.id}  {timestamp(entry.stored_ms)}  {visible(entry.role)}  {visible(entry.reason)}"
    if entry.letter is None:
        return f"{place}  unreadable"
    goal = f"goal {entry.goal_id}" if entry.goal_id else f"{visible(entry.letter.stream)} {entry.letter.sequence}"
    back = "" if entry.order is None else f"  [put back by {entry.order.by} at {entry.order.at}]"
    return f"{place}  {goal}  {visible(entry.letter.detail[:120])}{back}"


def _say(session: Session, line: str) -> None:
    if not session.json:
        session.say(line)


def _chosen(entries: list[Entry], role: str, reason: str) -> list[Entry]:
    return [entry for entry in entries if role in ("", entry.role) and reason in ("", entry.reason)]


def _number(name: str) -> int:
    if not (name.isascii() and name.isdecimal() and 0 < len(name) < 20):
        raise UserError("bad_usage", f"{visible(name)[:80]!r} is no number of a dead letter", "See `dead list`", 2)
    return int(name)


def _find(entries: list[Entry], number: int) -> Entry:
    for entry in entries:
        if entry.id == number:
            return entry
    raise UserError("unknown_letter", f"there is no dead letter {number}", "`interlock dead list` lists them", 2)
