"""The ledger's arithmetic against the one law: used + reserved never exceeds the limit unless somebody spent it anyway."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from interlock.bus.ledger.balance import (
    Balance,
    Reservation,
    end,
    expire,
    renew,
    reserve,
    settle,
    used_percent,
)
from interlock.envelope.amounts import ZERO, Amount

LIMIT = Amount(100, 1_000, 10_000, 10)
AMOUNTS = st.builds(Amount, st.integers(0, 60), st.integers(0, 600), st.integers(0, 6_000), st.integers(0, 6))
KEYS = st.sampled_from("abcdefgh")


class Model(RuleBasedStateMachine):
    """Any order of operations by any number of clients, with a naive account beside."""

    def __init__(self) -> None:
        super().__init__()
        self.balance = Balance(scope="goal.x", limit=LIMIT)
        self.open: dict[str, Amount] = {}
        self.used = ZERO
        self.seen: set[str] = set()
        self.honest = True
        self.now = 0

    @rule(key=KEYS, amount=AMOUNTS)
    def reserve(self, key: str, amount: Amount) -> None:
        before = self.balance
        held = Reservation(amount, self.now + 10, slack=Amount(1, 1, 1, 1))
        self.balance, answer = reserve(self.balance, key, held)
        if key in self.seen:
            assert answer.granted
            assert self.balance is before, "the same reservation twice is one"
        elif amount.within(before.left):
            assert answer.granted
            self.open[key] = amount
            self.seen.add(key)
        else:
            assert (answer.granted, answer.reason) == (False, "over_budget")
            assert answer.left == before.left
            assert "asked for" in answer.detail

    @rule(key=KEYS, share=st.integers(0, 130))
    def settle(self, key: str, share: int) -> None:
        amount = self.open.get(key, ZERO)
        actual = Amount(amount.tokens * share // 100, amount.usd_micro * share // 100, 0, amount.actions)
        self.balance, answer = settle(self.balance, key, actual)
        if key in self.open:
            del self.open[key]
            self.used = self.used + actual
            self.honest = self.honest and actual.within(amount)
        assert answer.granted == (key in self.seen)

    @rule(key=KEYS, later=st.integers(1, 30))
    def renew(self, key: str, later: int) -> None:
        self.balance, answer = renew(self.balance, key, ZERO, self.now + later)
        assert answer.granted == (key in self.open)

    @rule(passed=st.integers(1, 20))
    def expire(self, passed: int) -> None:
        self.now += passed
        self.balance, keys = expire(self.balance, self.now)
        for key in keys:
            self.used = self.used + Amount(1, 1, 1, 1).at_most(self.open.pop(key))

    @invariant()
    def nothing_is_lost_or_made(self) -> None:
        assert set(self.balance.open) == set(self.open)
        assert self.balance.used == self.used
        assert self.balance.left == LIMIT - self.used - self.balance.reserved
        if self.honest:
            assert (self.balance.used + self.balance.reserved).within(LIMIT)
            assert not self.balance.breached


TestModel = Model.TestCase


def test_spending_more_than_was_reserved_is_recorded_as_a_breach() -> None:
    balance, _ = reserve(Balance(scope="goal.x", limit=LIMIT), "a", Reservation(LIMIT, 10))
    balance, _ = settle(balance, "a", LIMIT + Amount(usd_micro=1))
    assert balance.breached
    assert balance.used.usd_micro == 1_001
    _, answer = reserve(balance, "b", Reservation(Amount(usd_micro=1), 10))
    assert not answer.granted


def test_an_ended_scope_grants_nothing_and_counts_what_is_open_as_used() -> None:
    balance, _ = reserve(Balance(scope="goal.x", limit=LIMIT), "a", Reservation(Amount(tokens=5), 10))
    ended = end(balance)
    assert (ended.used.tokens, ended.open, ended.ended) == (5, {}, True)
    assert reserve(ended, "b", Reservation(Amount(tokens=1), 10))[1].reason == "ended"


@pytest.mark.parametrize(("amounts", "alerts"), [([79, 1, 9, 1], [0, 80, 0, 90]), ([95], [90]), ([10, 10], [0, 0])])
def test_warnings_are_given_once_each(amounts: list[int], alerts: list[int]) -> None:
    balance = Balance(scope="goal.x", limit=Amount(tokens=100))
    given_alerts = []
    for number, amount in enumerate(amounts):
        balance, answer = reserve(balance, str(number), Reservation(Amount(tokens=amount), 10))
        given_alerts.append(answer.alert)
    assert given_alerts == alerts
    assert used_percent(balance) == sum(amounts)


@given(st.integers(0, 400))
def test_a_dead_lease_costs_what_it_reported_and_its_slack(spent: int) -> None:
    size, slack = Amount(usd_micro=400), Amount(usd_micro=100)
    balance, _ = reserve(Balance(scope="goal.x", limit=LIMIT), "lease", Reservation(size, 10, slack=slack))
    balance, _ = renew(balance, "lease", Amount(usd_micro=spent), 10)
    balance, keys = expire(balance, 10)
    assert keys == ["lease"]
    assert balance.used.usd_micro == min(400, spent + 100)
