from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.skills.infrastructure.blueprint.format import leaves
from interlock.skills.infrastructure.blueprint.quantities import KINDS, QuantityError, parse, show

RIGHT = [
    ("cpu", "50m", 50),
    ("cpu", "0.5", 500),
    ("cpu", 0.05, 50),
    ("cpu", 2, 2000),
    ("cpu", "1.5", 1500),
    ("memory", "128Mi", 134_217_728),
    ("memory", "1.5Gi", 1_610_612_736),
    ("memory", "128M", 128_000_000),
    ("memory", "4k", 4000),
    ("duration", "200ms", 200),
    ("duration", "0.5s", 500),
    ("duration", "90d", 7_776_000_000),
    ("latency", "200ms", 200_000),
    ("latency", "250us", 250),
    ("latency", "1.5s", 1_500_000),
    ("seconds", "5m", 300),
    ("share", "99.99%", 999_900),
    ("share", "0%", 0),
    ("utilization", "120%", 1_200_000),
    ("throughput", "100 req/s", 100_000),
    ("throughput", "0.5 req/s", 500),
    ("money", "20.5 USD", 20_500_000),
    ("weight", 0.3, 300_000),
    ("weight", 1, 1_000_000),
    ("weight", 1e-06, 1),
]
# Kind, what was written, what is suggested.
WRONG: list[tuple[str, Any, str]] = [
    ("cpu", "50 m", "`50m`"),
    ("cpu", "50M", "`50m`"),
    ("cpu", "2 cores", "`2`"),
    ("cpu", "1e3", ""),
    ("cpu", True, ""),
    ("cpu", None, ""),
    ("cpu", ["50m"], ""),
    ("cpu", "٥m", ""),
    ("memory", "128MB", "`128Mi` or `128M`"),
    ("memory", "1 Gi", "`1Gi`"),
    ("memory", 128, "`128Mi`"),
    ("memory", 134_217_728, "`128Mi`"),
    ("memory", "512mib", "`512Mi`"),
    ("memory", "128kb", "`128Ki` or `128k`"),
    ("duration", 60, "`60s` or `60ms`"),
    ("duration", "60 seconds", "`60s`"),
    ("duration", "2 hrs", "`2h`"),
    ("duration", "60s\n", "`60s`"),
    ("latency", "200 ms", "`200ms`"),
    ("share", 0.999, "`99.9%`"),
    ("share", "99.9", "`99.9%`"),
    ("throughput", "100rps", "`100 req/s`"),
    ("throughput", "100  req/s", "`100 req/s`"),
    ("money", "$100", "`100 USD`"),
    ("money", "100EUR", ""),
]


@pytest.mark.parametrize(("kind", "text", "value"), RIGHT)
def test_right(kind: str, text: Any, value: int) -> None:
    assert parse(kind, text) == value


@pytest.mark.parametrize(("kind", "text", "instead"), WRONG)
def test_wrong_with_the_right_form(kind: str, text: Any, instead: str) -> None:
    with pytest.raises(QuantityError) as caught:
        parse(kind, text)
    assert caught.value.instead == instead


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_bounds(kind: str) -> None:
    least, most = KINDS[kind].least, KINDS[kind].most
    assert [parse(kind, show(kind, bound)) for bound in (least, most)] == [least, most]
    with pytest.raises(QuantityError) as caught:
        parse(kind, show(kind, most + 1))
    assert caught.value.limits == f"from {show(kind, least)} to {show(kind, most)}"


@given(st.data())
def test_what_is_shown_is_read_again(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    value = data.draw(st.integers(KINDS[kind].least, KINDS[kind].most))
    assert parse(kind, show(kind, value)) == value


PATTERNS = {leaf.quantity: leaf.schema["pattern"] for leaf in leaves().values() if "pattern" in leaf.schema}


@given(st.sampled_from(sorted(set(PATTERNS) - {""})), st.from_regex(r"\A[0-9]{1,4}(\.[0-9]{1,3})? ?[A-Za-z%/]{0,5}\Z"))
def test_the_schema_refuses_what_the_reader_refuses_to_split(kind: str, text: str) -> None:
    """Editors know only the pattern: what it refuses is refused here too, and what is right passes it."""
    try:
        parse(kind, text)
    except QuantityError as error:
        assert error.limits or not re.fullmatch(PATTERNS[kind], text)
    else:
        assert re.fullmatch(PATTERNS[kind], text)


@given(st.sampled_from(sorted(KINDS)), st.one_of(st.text(max_size=30), st.floats(), st.integers(), st.none()))
def test_nothing_but_a_quantity_error(kind: str, value: Any) -> None:
    try:
        result = parse(kind, value)
    except QuantityError:
        return
    assert KINDS[kind].least <= result <= KINDS[kind].most
