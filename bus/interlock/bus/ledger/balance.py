"""A scope's balance and what may be done with it. Pure; immutable values in, immutable values out.

Scopes form a tree: workspace/day, goal, task. Every scope's limit is itself a reservation in its parent, so a chain
never needs two balances changed in one step, and no order of crashes can spend a unit twice (docs/adr/0004).
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field
from msgspec.structs import replace

from interlock.envelope.amounts import ZERO, Amount

MAX_OPEN = 4_096
KEPT_CLOSED = 256
ALERTS = (80, 90)


class Reservation(Struct, frozen=True, array_like=True):
    """Held until settled, released or expired. spent: what a lease has reported; slack: how much more its holder may
    have spent since, which is what a lease that dies costs beyond what it reported.
    """

    amount: Amount
    expires_ms: int
    spent: Amount = ZERO
    slack: Amount = ZERO


class Balance(Struct, frozen=True, kw_only=True):
    """One scope. closed: the last settled reservations, so that a repeated request has the same answer. alerted: the
    highest warning given, in percent. breached: more was used than the limit allows. refused: something was asked for
    that is not left.
    """

    scope: str
    parent: str = ""
    limit: Amount
    used: Amount = ZERO
    open: dict[str, Reservation] = field(default_factory=dict)
    closed: dict[str, Amount] = field(default_factory=dict)
    alerted: int = 0
    breached: bool = False
    refused: bool = False
    ended: bool = False

    @property
    def reserved(self) -> Amount:
        # In integers: an Amount for each would cost more than all else that a balance decides.
        tokens = usd_micro = wall_ms = actions = 0
        for held in self.open.values():
            amount = held.amount
            tokens += amount.tokens
            usd_micro += amount.usd_micro
            wall_ms += amount.wall_ms
            actions += amount.actions
        return Amount(tokens, usd_micro, wall_ms, actions)

    @property
    def left(self) -> Amount:
        return self.limit - self.used - self.reserved


class Answer(Struct, frozen=True, kw_only=True):
    """granted, or why not: over_budget, unknown_scope, unknown_reservation, too_many, ended, taken, unavailable,
    malformed.
    left: what the scope could still grant, in the wire's units.
    """

    granted: bool
    reason: str = ""
    detail: str = ""
    left: Amount = ZERO
    alert: int = 0


Change = tuple[Balance, Answer]


def reserve(balance: Balance, key: str, reservation: Reservation) -> Change:
    """Holds an amount under a key. The same key again is the same reservation."""
    if key in balance.open or key in balance.closed:
        return balance, Answer(granted=True, left=balance.left)
    if balance.ended:
        return balance, Answer(granted=False, reason="ended", detail=f"{balance.scope} is closed")
    if len(balance.open) >= MAX_OPEN:
        return balance, Answer(granted=False, reason="too_many", detail=f"{MAX_OPEN} open reservations")
    left = balance.left
    if not reservation.amount.within(left):
        detail = f"{balance.scope} has left {_told(left)}; asked for {_told(reservation.amount)}"
        told = balance if balance.refused else replace(balance, refused=True)
        return told, Answer(granted=False, reason="over_budget", detail=detail, left=left)
    changed = replace(balance, open={**balance.open, key: reservation})
    return _alerting(changed)


def settle(balance: Balance, key: str, actual: Amount) -> Change:
    """Ends a reservation with what was really used, also where that is more than was reserved: then it is a breach."""
    if key in balance.closed:
        return balance, Answer(granted=True, left=balance.left)
    if key not in balance.open:
        return balance, Answer(granted=False, reason="unknown_reservation", detail=key)
    still_open = {name: entry for name, entry in balance.open.items() if name != key}
    closed = dict(list(balance.closed.items())[-(KEPT_CLOSED - 1) :])
    closed[key] = actual
    used = balance.used + actual
    changed = replace(
        balance, open=still_open, closed=closed, used=used, breached=balance.breached or not used.within(balance.limit)
    )
    return _alerting(changed)


def renew(balance: Balance, key: str, spent: Amount, expires_ms: int) -> Change:
    """A lease's sign of life: what it spent so far, and a later expiry."""
    lease = balance.open.get(key)
    if lease is None:
        return balance, Answer(granted=False, reason="unknown_reservation", detail=key)
    renewed = replace(lease, spent=spent, expires_ms=max(expires_ms, lease.expires_ms))
    return replace(balance, open={**balance.open, key: renewed}), Answer(granted=True, left=balance.left)


def expire(balance: Balance, now_ms: int) -> tuple[Balance, list[str]]:
    """Settles what is overdue: at what was reported plus the slack, at most what was reserved. The rest returns."""
    overdue = [key for key, entry in balance.open.items() if entry.expires_ms <= now_ms]
    for key in overdue:
        entry = balance.open[key]
        balance, _ = settle(balance, key, (entry.spent + entry.slack).at_most(entry.amount))
    return balance, overdue


def end(balance: Balance) -> Balance:
    """Closes the scope. What is still reserved counts as used: nobody can say that it was not."""
    for key in list(balance.open):
        balance, _ = settle(balance, key, balance.open[key].amount)
    return replace(balance, ended=True)


def used_percent(balance: Balance) -> int:
    """The fullest dimension, used and reserved, in percent of its limit."""
    held = balance.used + balance.reserved
    pairs = (
        (held.tokens, balance.limit.tokens),
        (held.usd_micro, balance.limit.usd_micro),
        (held.wall_ms, balance.limit.wall_ms),
        (held.actions, balance.limit.actions),
    )
    return max((value * 100 // limit for value, limit in pairs if limit > 0), default=0)


def _alerting(balance: Balance) -> Change:
    percent = used_percent(balance)
    reached = max((level for level in ALERTS if percent >= level), default=0)
    alert = reached if reached > balance.alerted else 0
    changed = replace(balance, alerted=max(balance.alerted, reached))
    return changed, Answer(granted=True, left=changed.left, alert=alert)


def _told(amount: Amount) -> str:
    budget = amount.budget
    return f"{budget.cost_usd} USD, {amount.tokens} tokens, {amount.wall_ms} ms, {amount.actions} actions"


Operation = Literal["open", "reserve", "settle", "renew", "end", "balance"]


class Request(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a client asks of the writer. open: scope, parent, amount (the limit), expires_ms. reserve, settle, renew:
    scope, key, amount. end: scope. balance: scope.
    """

    op: Operation
    scope: str
    key: str = ""
    parent: str = ""
    amount: Amount = ZERO
    slack: Amount = ZERO
    expires_ms: int = 0
