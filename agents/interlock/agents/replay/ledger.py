"""The ledger's decisions about one goal, from the balances of its scope (AUD-04). Pure.

The first balance follows from the intake, every other from the one before it and from what was asked between them: to
reserve what a task's envelope grants, to settle what was used, to renew, to end. Amounts used are inputs; what is granted and
refused, what is left, breaches and warnings are decided again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from interlock.agents.replay.compare import Divergence, first_difference
from interlock.bus.ledger.balance import Balance, Reservation, end, renew, reserve, settle
from interlock.envelope.amounts import Amount

_balances = msgspec.json.Decoder(Balance)


class Asked(Struct, frozen=True):
    """What the hop with this id asked the ledger for, and where it stands."""

    sequence: int
    reservation: Reservation


def decided(
    balances: Sequence[bytes], scope: str, limit: Amount, asked: Mapping[str, Asked]
) -> Iterator[Divergence | None]:
    """One for every recorded balance: None where today's ledger would have stored the same. asked: by the hop's id."""
    before: Balance | None = None
    for number, data in enumerate(balances, 1):
        try:
            after = _balances.decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            yield _parts(
                0, scope, f"balance {number} cannot be read by today's code", "$", "a balance", str(error)[:300]
            )
            continue
        if before is None:
            now = Balance(scope=scope, parent=after.parent, limit=limit)
            places = [0]
        else:
            now, places = _closest(before, after, asked)
        if now == after:
            yield None
        else:
            path, recorded, told = first_difference(after, now)
            yield _parts(min(places, default=0), scope, f"balance {number} of its scope", path, recorded, told)
        before = after


def refused_again(balances: Sequence[bytes], key: str, asked: Asked) -> bool:
    """Whether some balance that the goal had does not hold what was refused. True where none is left that can be read."""
    found = []
    for data in balances:
        try:
            found.append(_balances.decode(data))
        except (msgspec.MsgspecError, ValueError, RecursionError):
            continue
    return not found or any(not reserve(balance, key, asked.reservation)[1].granted for balance in found)


def _closest(before: Balance, after: Balance, asked: Mapping[str, Asked]) -> tuple[Balance, list[int]]:
    """(what today's ledger stores for what was asked between the two, sequences of the hops that asked). Requests that are
    decided together leave one balance, and their order is not recorded: settled first what can be, or last. Warnings may
    stand anywhere between those of the two.
    """
    given_back = [key for key in after.closed if key not in before.closed]
    taken = [key for key in (*after.open, *given_back) if key not in before.open]
    places = [asked[key].sequence for key in (*taken, *given_back) if key in asked]
    low = _in_order(before, after, [key for key in given_back if key in before.open], taken, given_back, asked)
    if low == after:
        return low, places
    high = _in_order(before, after, [], taken, given_back, asked)
    if low.alerted <= after.alerted <= high.alerted:
        low, high = replace(low, alerted=after.alerted), replace(high, alerted=after.alerted)
    return (high if high == after else low), places


def _in_order(
    before: Balance,
    after: Balance,
    first: Sequence[str],
    taken: Sequence[str],
    given_back: Sequence[str],
    asked: Mapping[str, Asked],
) -> Balance:
    now = before
    for key in first:
        now, _ = settle(now, key, after.closed[key])
    for key in taken:
        # A lease is no hop's: what it asked for is only known from what it got.
        entry = asked[key].reservation if key in asked else after.open.get(key)
        now, _ = reserve(now, key, entry or Reservation(after.closed[key], 0))
    for key, entry in after.open.items():
        if key in before.open and entry != before.open[key]:
            now, _ = renew(now, key, entry.spent, entry.expires_ms)
    for key in given_back:
        now, _ = settle(now, key, after.closed[key])
    if after.ended and not before.ended:
        now = end(now)
    return replace(now, refused=now.refused or after.refused)  # what was refused left no more than that


def _parts(sequence: int, scope: str, what: str, path: str, recorded: object, now: object) -> Divergence:
    return Divergence(sequence=sequence, hop=scope, kind="ledger", what=what, path=path, recorded=recorded, now=now)
