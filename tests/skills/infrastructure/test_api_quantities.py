from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.skills.infrastructure.api_quantities import BadQuantity, cpu, memory, milli, parse, whole


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1500m", Fraction(3, 2)),
        ("1Gi", 2**30),
        ("100M", 10**8),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1E", 10**18),
        ("12e-1", Fraction(6, 5)),
        ("0", 0),
        ("0.5", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        ("5.", 5),
        ("+5", 5),
        ("-5k", -5000),
        ("1.5Ki", 1536),
        ("250u", Fraction(1, 4000)),
        ("7n", Fraction(7, 10**9)),
        ("2Ei", 2 * 2**60),
        (2, 2),
        (0.5, Fraction(1, 2)),
    ],
)
def test_quantities_are_read_as_the_api_reads_them(text: str | int | float, value: Fraction) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 Gi",
        "128MB",
        "1gi",
        "1ki",
        "K",
        "1K",
        "0x10",
        "1e",
        "--1",
        "1,5",
        "NaN",
        "10E",
        "1" * 65,
        True,
        "１",
    ],
)
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(BadQuantity):
        parse(text)


def test_fractions_are_rounded_up() -> None:
    assert (milli("1u"), milli("0.0011"), whole("1.2"), whole("100m")) == (1, 2, 2, 1)


@given(st.integers(0, 10**9))
def test_what_is_written_is_read_back(number: int) -> None:
    assert milli(cpu(number)) == number
    assert whole(memory(number)) == number


def test_spellings() -> None:
    assert [cpu(50), cpu(2000), memory(128 * 2**20), memory(2**30), memory(1000), memory(0)] == [
        "50m",
        "2",
        "128Mi",
        "1Gi",
        "1000",
        "0",
    ]
