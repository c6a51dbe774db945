"""Balances as the ledger stored them, for whoever reads and does not decide: the auditor, the command line."""

from __future__ import annotations

from contextlib import aclosing

import msgspec
from msgspec import Struct

from interlock.bus.ledger.balance import Balance
from interlock.bus.records import Seals, before_of, last_sealed
from interlock.bus.streams import LEDGER
from interlock.bus.transport import Message, Transport
from interlock.envelope.subjects import workspace_subject

_balances = msgspec.json.Decoder(Balance)


class _Remarkable(Struct):
    """Of a balance what calls for somebody to look at the rest."""

    alerted: int = 0
    breached: bool = False
    refused: bool = False


_remarkable = msgspec.json.Decoder(_Remarkable)


def balance_subject(workspace: str, scope: str) -> str:
    """Where a scope's balances are, the last one in force."""
    return workspace_subject(workspace, "ledger", *scope.split("."))


def is_sealed(message: Message, seals: Seals) -> bool:
    """Whether the ledger's key sealed the message for this place; it may be an earlier balance."""
    before = before_of(message)
    return before >= 0 and seals.hold(message, before)


def read_balance(message: Message) -> Balance | None:
    """The balance that these bytes are, None for anything else; nothing is said of who wrote it."""
    try:
        return _balances.decode(message.data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def is_remarkable(message: Message) -> bool:
    """Whether these bytes speak of a warning, a breach or a refusal, at a fraction of what reading the balance costs."""
    try:
        told = _remarkable.decode(message.data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return bool(told.alerted or told.breached or told.refused)


async def stored_balance(
    transport: Transport, workspace: str, scope: str, seals: Seals | None
) -> tuple[Balance, int, int] | None:
    """(the balance in force, ms when it was stored, ms when its scope began), None if there is none. Raises BusError."""
    subject = balance_subject(workspace, scope)
    message, _ = await last_sealed(transport, LEDGER.name, subject, seals)
    balance = None if message is None else read_balance(message)
    if message is None or balance is None:
        return None
    began_ms = message.stored_ms
    async with aclosing(transport.read(LEDGER.name, [subject])) as messages:
        async for first in messages:
            began_ms = first.stored_ms
            break
    return balance, message.stored_ms, began_ms
