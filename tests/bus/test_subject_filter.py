"""Subject filters, by table and against a regular expression."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.bus.subject_filter import any_of, is_wildcard, matches, overlap

TOKENS = st.sampled_from(["a", "b"])
SUBJECTS = st.lists(TOKENS, min_size=1, max_size=4).map(".".join)
FILTERS = st.builds(
    lambda tokens, rest: ".".join([*tokens, *rest]),
    st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=3),
    st.sampled_from([[], [">"]]),
)


@pytest.mark.parametrize(
    ("subject_filter", "subject", "taken"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("a", "a.b", False),
        ("*", "a", True),
        ("*", "a.b", False),
        (">", "a.b.c", True),
        ("a.>", "a", False),
        ("a.>", "a.b", True),
        ("a.*.c", "a.b.c", True),
        ("a.*.c", "a.b.d", False),
        ("a.b*", "a.bc", False),
        ("a.*", "a.*", True),
    ],
)
def test_table(subject_filter: str, subject: str, taken: bool) -> None:
    assert matches(subject_filter, subject) is taken
    assert any_of([subject_filter])(subject) is taken


@given(FILTERS, SUBJECTS)
def test_like_the_regular_expression(subject_filter: str, subject: str) -> None:
    pattern = subject_filter.replace(".", r"\.").replace("*", "[^.]+").replace(">", ".+")
    assert matches(subject_filter, subject) is (re.fullmatch(pattern, subject) is not None)


@given(st.lists(FILTERS | SUBJECTS, max_size=3), SUBJECTS)
def test_any_of_is_any_of_them(filters: list[str], subject: str) -> None:
    assert any_of(filters)(subject) is (not filters or any(matches(one, subject) for one in filters))


@given(FILTERS, FILTERS, SUBJECTS)
def test_overlap_is_never_missed_and_symmetric(one: str, other: str, subject: str) -> None:
    assert overlap(one, other) is overlap(other, one)
    if matches(one, subject) and matches(other, subject):
        assert overlap(one, other)


@given(FILTERS, FILTERS)
def test_overlap_is_never_made_up(one: str, other: str) -> None:
    from itertools import product

    subjects = [".".join(tokens) for length in range(1, 6) for tokens in product("ab", repeat=length)]
    assert overlap(one, other) is any(matches(one, subject) and matches(other, subject) for subject in subjects)


def test_what_a_wildcard_is() -> None:
    assert [is_wildcard(one) for one in ("a", "a.*", "a.>", "a*.b", ">")] == [False, True, True, False, True]
