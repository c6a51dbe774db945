"""The charges of a goal: every reservation that the ledger settled, with what it was settled at (GOV-05, OPS-08).

The ledger keeps balances, not entries; each balance remembers its last settlements, so what is new in it is the entry.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing

from msgspec import Struct

from interlock.bus.ledger.balance import Balance
from interlock.bus.ledger.client import goal_scope
from interlock.bus.ledger.stored import balance_subject, read_balance
from interlock.bus.records import Seals, sealed_only
from interlock.bus.streams import LEDGER
from interlock.bus.transport import Transport
from interlock.envelope.amounts import ZERO, Amount


class Charge(Struct, frozen=True):
    """key: the id of the envelope whose work it paid for; empty for what no entry tells of. at_ms: when it was stored."""

    key: str
    at_ms: int
    amount: Amount


class Account(Struct, frozen=True, kw_only=True):
    """All charges of one goal; their sum is what its scope has used, to the micro-USD."""

    goal_id: str
    charges: list[Charge]
    limit: Amount
    used: Amount
    ended: bool


def account_of(goal_id: str, balances: Iterable[tuple[int, Balance]]) -> Account | None:
    """balances: (ms when it was stored, balance) of the goal's scope, in order. None without any. Pure."""
    charges: list[Charge] = []
    seen: set[str] = set()
    last: Balance | None = None
    for at_ms, balance in balances:
        for key, amount in balance.closed.items():
            if key not in seen:
                seen.add(key)
                charges.append(Charge(key, at_ms, amount))
        last = balance
        told_ms = at_ms
    if last is None:
        return None
    told = ZERO
    for charge in charges:
        told = told + charge.amount
    if told != last.used:  # more were settled between two balances than one remembers
        charges.append(Charge("", told_ms, last.used - told))
    return Account(goal_id=goal_id, charges=charges, limit=last.limit, used=last.used, ended=last.ended)


async def read_account(transport: Transport, workspace: str, goal_id: str, seals: Seals | None) -> Account | None:
    """seals: of the gateway, whose balances count. Raises BusError."""
    balances: list[tuple[int, Balance]] = []
    subject = balance_subject(workspace, goal_scope(goal_id))
    async with aclosing(transport.read(LEDGER.name, [subject])) as messages:
        async for message, counts in sealed_only(messages, seals):
            balance = read_balance(message) if counts else None
            if balance is not None:
                balances.append((message.stored_ms, balance))
    return account_of(goal_id, balances)
