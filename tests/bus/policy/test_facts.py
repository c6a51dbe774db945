"""The input document: its steps, what remembers it, what counts for it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.bus.policy.facts import (
    INPUT_PATHS,
    NOBODY,
    Facts,
    age_step,
    facts_of,
    performer_facts,
    rate_step,
    sender_facts,
    usd_step,
)
from interlock.bus.policy.memo import Memo
from interlock.bus.policy.window import Window
from interlock.envelope.verdict import ALLOW, deny
from tests.bus.policy.bundles import TASK
from tests.bus.policy.hops import Source, task_hop


def test_the_sample_has_every_field_and_no_other() -> None:
    assert msgspec.to_builtins(msgspec.convert(TASK, Facts)) == TASK
    assert {("hop", "from"), ("hop", "riskTier"), ("task", "skill"), ("approval", "ageMs"), ("task",)} <= INPUT_PATHS
    assert ("hop", "sender") not in INPUT_PATHS


@pytest.mark.parametrize(
    ("usd_micro", "step"),
    [(0, 0), (1, 1), (1_000_000, 1), (1_000_001, 10), (100_000_000, 100), (100_000_001, 1_000), (10**15, 10**9)],
)
def test_costs_come_in_powers_of_ten(usd_micro: int, step: int) -> None:
    assert usd_step(usd_micro) == step


@given(st.integers(0, 10**9), st.integers(1, 9), st.integers(2, 8))
def test_a_rate_of_one_digit_is_exact_against_limits_of_one_digit(count: int, digit: int, zeros: int) -> None:
    limit = digit * 10**zeros
    assert (rate_step(count) >= limit) == (count >= limit)
    assert rate_step(rate_step(count)) == rate_step(count) <= count


@given(st.integers(-(10**9), 10**9))
def test_an_approval_never_looks_younger_than_it_is(age_ms: int) -> None:
    assert age_ms <= age_step(age_ms) < age_ms + 60_000
    assert age_step(3_600_000) == 3_600_000


def test_whom_the_trust_store_does_not_know_is_nobody() -> None:
    trust = Source().trust
    assert sender_facts(trust, "U" + "A" * 55, 0) == NOBODY == performer_facts(trust, "stranger")
    assert NOBODY.revoked
    known = performer_facts(trust, "executor.seven")
    assert (known.capabilities, known.trust_level, known.revoked) == (["skill:*"], 50, False)


def test_the_facts_are_those_of_the_envelope() -> None:
    hop = task_hop()
    facts = facts_of(hop, NOBODY, NOBODY)
    assert (facts.hop.sender, facts.hop.from_role, facts.hop.to) == ("orchestrator", "orchestrator", ["executor"])
    assert (facts.hop.payload, facts.hop.confidence, facts.hop.tags) == ("task", 1000, ["data:internal"])
    assert (facts.budget.within_grant, facts.budget.cost_usd_at_most) == (True, 1)
    assert facts_of(task_hop(), NOBODY, NOBODY) == facts, "no id and no clock: two tasks of a kind are one input"


def test_the_memo_keeps_the_newest_and_nothing_that_passes() -> None:
    memo = Memo(max_entries=2)
    memo.keep(b"a", ALLOW)
    memo.keep(b"b", deny("policy_timeout", "no"))
    assert (memo.find(b"a"), memo.find(b"b"), len(memo)) == (ALLOW, None, 1)
    memo.keep(b"b", deny("risk_tier", "no"))
    assert memo.find(b"a") is not None
    memo.keep(b"c", ALLOW)
    assert (memo.find(b"a"), memo.find(b"b"), len(memo)) == (ALLOW, None, 2)


def test_the_window_weighs_the_minute_before() -> None:
    window = Window()
    assert [window.add("a", 0) for _ in range(3)] == [0, 1, 2]
    assert window.add("b", 0) == 0
    assert window.add("a", 59_999) == 3
    assert window.add("a", 60_000) == 4
    assert window.add("a", 90_000) == 1 + 2
    assert window.add("a", 30_000) == 2 + 2, "a clock that jumps back"
    assert window.add("a", 10**9) == 0


def test_the_window_is_bounded() -> None:
    window = Window(max_keys=2)
    for key in "abc":
        window.add(key, 0)
    assert window.add("a", 0) == 0
    assert window.add("c", 0) == 1
