"""Limits on a kind of work: what is a kind, what it may cost, and what no contract may say of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from interlock.envelope.amounts import MAX_INT, Amount
from interlock.envelope.canonical import canonical
from interlock.envelope.contract import Quotas
from interlock.envelope.contract_change import changes_between
from interlock.envelope.kind_quota import KindLimit, KindQuota, kind_of, kinds_problem
from tests.envelope.contracts import FIRST

SUMMARIES = KindQuota(
    kind="summaries",
    skills=["summary-*", "abstracting"],
    per_task=KindLimit(cost_usd="0.05"),
    per_day=KindLimit(actions=100),
)


def test_what_is_left_out_is_not_limited() -> None:
    assert SUMMARIES.per_task.amount == Amount(MAX_INT, 50_000, MAX_INT, MAX_INT)
    assert SUMMARIES.per_day.amount == Amount(MAX_INT, MAX_INT, MAX_INT, 100)
    assert (SUMMARIES.per_task.told, KindLimit().told) == ("at most 0.05 USD", "any amount")


@pytest.mark.parametrize(
    ("skill", "found"),
    [("summary-short", True), ("summary-", True), ("abstracting", True), ("summary", False), ("abstracting-x", False)],
)
def test_a_skill_is_of_the_kind_that_names_it_or_its_beginning(skill: str, found: bool) -> None:
    assert (kind_of([SUMMARIES], skill) is not None) == found


@pytest.mark.parametrize(
    ("skills", "problem"),
    [
        (["other"], ""),
        (["summ"], ""),
        (["summary-short"], "overlap: summary-* and summary-short"),
        (["summ*"], "overlap"),
        (["*"], "overlap"),
        (["abstracting"], "overlap"),
        (["abstracting-*"], ""),
    ],
)
def test_no_skill_is_of_two_kinds(skills: list[str], problem: str) -> None:
    told = kinds_problem([SUMMARIES, replace(SUMMARIES, kind="texts", skills=skills)])
    assert problem in told and bool(problem) == bool(told)


def test_kinds_are_sorted_each_once() -> None:
    for kinds in ([SUMMARIES, SUMMARIES], [replace(SUMMARIES, kind="z", skills=["z"]), SUMMARIES]):
        assert "sorted" in kinds_problem(kinds)
        with pytest.raises(ValueError, match="sorted"):
            replace(FIRST.quotas, kinds=kinds)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": ""},
        {"kind": "Summaries"},
        {"kind": "a.b"},
        {"kind": "a" * 65},
        {"kind": "a-"},
        {"skills": []},
        {"skills": ["a b"]},
        {"skills": ["a*b"]},
        {"skills": ["a\n"]},
        {"skills": ["s"] * 65},
        {"perTask": {"costUSD": "0.050"}},
        {"perTask": {"costUSD": "-1"}},
        {"perTask": {"costUSD": 0.05}},
        {"perDay": {"actions": -1}},
        {"perDay": {"actions": 2**53}},
        {"perDay": {"summaries": 100}},
        {"more": 1},
    ],
)
def test_what_no_contract_may_say_of_a_kind(change: dict[str, Any]) -> None:
    good = msgspec.to_builtins(SUMMARIES)
    assert msgspec.convert(good, KindQuota) == SUMMARIES
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(good | change, KindQuota)


def test_a_contract_from_before_there_were_kinds_keeps_its_bytes() -> None:
    assert b"kinds" not in canonical(FIRST)
    with_kinds = replace(FIRST, quotas=replace(FIRST.quotas, kinds=[SUMMARIES]))
    assert msgspec.json.decode(canonical(with_kinds), type=type(FIRST)) == with_kinds
    assert changes_between(FIRST, with_kinds) == ["economics"], "which a freeze guards"
    assert isinstance(with_kinds.quotas, Quotas) and FIRST.quotas.kinds_of_work == []
