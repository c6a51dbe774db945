"""Charges out of balances: whatever was settled between two of them, they add up to what was used."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

from interlock.agents.audit.hop_graph import Hop
from interlock.agents.costs.attribution import DIMENSIONS, UNKNOWN, items_of, totals
from interlock.agents.costs.charges import Account, Charge, account_of
from interlock.bus.ledger.balance import KEPT_CLOSED, Balance, Reservation, reserve, settle
from interlock.envelope.amounts import Amount, timestamp
from interlock.envelope.ids import new_id
from interlock.envelope.payloads import Payload, Task, TaskResult
from interlock.envelope.verdict import Reason
from tests.envelope.samples import ENVELOPES

LIMIT = Amount(10**9, 10**9, 10**9, 10**9)


def balances(costs: list[int], seen: list[bool]) -> list[tuple[int, Balance]]:
    """One settlement after the other; of those that nobody saw only what the next balance remembers is known."""
    balance = Balance(scope="goal.x", limit=LIMIT)
    stored = [(0, balance)]
    for number, cost in enumerate(costs):
        balance, _ = reserve(balance, f"k{number}", Reservation(Amount(0, cost, 0, 1), 10))
        balance, _ = settle(balance, f"k{number}", Amount(1, cost, 0, 1))
        if number >= len(seen) or seen[number]:
            stored.append((number, balance))
    return [*stored, (len(costs), balance)]


@given(st.lists(st.integers(0, 10**6), max_size=60), st.lists(st.booleans(), max_size=60))
def test_the_charges_add_up_to_what_was_used(costs: list[int], seen: list[bool]) -> None:
    account = account_of("x", balances(costs, seen))
    assert account is not None
    assert sum(charge.amount.usd_micro for charge in account.charges) == account.used.usd_micro == sum(costs)
    assert [charge.key for charge in account.charges if charge.key] == [f"k{n}" for n in range(len(costs))]
    items = items_of(account, [])
    for dimension in DIMENSIONS:
        found = totals(items, dimension)
        assert sum(total.usd_micro for total in found) == sum(costs)
        assert sum(total.charges for total in found) == len(items)


def test_what_no_balance_remembers_is_one_charge_without_a_name() -> None:
    count = KEPT_CLOSED + 20
    account = account_of("x", balances([3] * count, [False] * count))
    assert account is not None
    assert [charge.amount.usd_micro for charge in account.charges if not charge.key] == [60]
    assert sum(charge.amount.usd_micro for charge in account.charges) == 3 * count
    assert {item.skill for item in items_of(account, [])} == {UNKNOWN}


def test_a_charge_is_put_down_to_the_domain_of_its_skill_not_to_the_playbook() -> None:
    """By hops of one goal: two skills of one domain, one of another, one whose result names none."""
    told: list[tuple[str | UnsetType, int]] = [("release", 5), ("security", 7), ("release", 11), (UNSET, 13)]
    hops, charges = [], []
    for number, (domain, cost) in enumerate(told):
        task = Task(task_id=f"t{number}", attempt=1, skill=f"s{number}", input={}, now=timestamp(0))
        sent = new_id(number + 1)
        result = TaskResult(
            task_id=task.task_id, attempt=1, skill=task.skill, skill_digest="d", outcome="done", domain=domain
        )
        hops += [hop(task, id=sent), hop(result, id=new_id(number + 1), parent_id=sent, sender="executor")]
        charges.append(Charge(sent, 0, Amount(0, cost, 0, 1)))
    account = Account(goal_id="g", charges=charges, limit=LIMIT, used=Amount(0, 36, 0, 4), ended=True)
    found = {total.name: total.usd_micro for total in totals(items_of(account, hops), "domain")}
    assert found == {"release": 16, UNKNOWN: 13, "security": 7}
    assert sum(found.values()) == account.used.usd_micro


def hop(payload: Payload, **more: Any) -> Hop:
    envelope = msgspec.structs.replace(ENVELOPES["task"].envelope, payload=payload, **more)
    seen: dict[str, Any] = {"sequence": 1, "subject": envelope.subject, "stored_ms": 0, "digest": "", "size": 1}
    return Hop(**seen, verified=True, authentic=True, reason=Reason.OK, detail="", envelope=envelope)


def test_there_is_no_account_without_balances() -> None:
    assert account_of("x", []) is None
