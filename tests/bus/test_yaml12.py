"""YAML without surprises: scalars of YAML 1.2, places for every error, bounds for every attack."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.bus.yaml12 import YamlError, load_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"), ("yes", "yes"), ("NO", "NO"), ("1:30", "1:30"), ("2020-01-01", "2020-01-01"), ("010", 10), ("0o10", 8),
        ("0x1F", 31), ("1_000", "1_000"), ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5), ("~", None), ("", None), ("null", None),
        ("True", True), ("'true'", "true"), ("-7", -7), ("+7", 7), ("0b1", "0b1"), ("a: {b: [1, x]}", {"a": {"b": [1, "x"]}}),
        ("é: ü", {"é": "ü"}), ("a: &x 1\nb: *x", {"a": 1, "b": 1}), ("9" * 80, "9" * 80),
    ],
)  # fmt: skip
def test_scalars_of_the_core_schema(text: str, value: Any) -> None:
    assert load_yaml(text, source="f").value == value


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("a: 1\na: 2", "f:2:1", "twice"),
        ("a: 1\n <<: {b: 2}", "f:", ""),
        ("x:\n  <<: {b: 2}", "f:2:3", "merge"),
        ("a: !!python/object:os.system x", "f:1:4", "not allowed"),
        ("a: !local x", "f:1:4", "not allowed"),
        ("a: [1, 2", "f:", "expected"),
        ("{a: 1}: 2", "f:1:1", "key must be text"),
        ("[" * 3_000, "f:1:65", "deeper"),
        (BOMB, "f:", "too many"),
        ("a: 1\n---\nb: 2", "f:2:1", "document"),
        (b"\xff\xfe\x00", "f:1:1", "not UTF-8"),
        ("\x00", "f:1:1", ""),
        ("a: *nope", "f:1:4", "undefined alias"),
    ],
)
def test_errors_are_one_line_with_their_place(text: str | bytes, where: str, what: str) -> None:
    with pytest.raises(YamlError) as caught:
        load_yaml(text, source="f")
    assert str(caught.value).startswith(where)
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)


def test_size_is_bounded_and_places_are_known() -> None:
    with pytest.raises(YamlError, match="at most 10"):
        load_yaml("x" * 11, source="f", limit_bytes=10)
    loaded = load_yaml("a:\n  - b: 1\n  - c: 2\n", source="f")
    assert loaded.position("$.a[1].c") == (3, 8)
    assert loaded.position("$.a[1].missing") == (3, 5)
    assert loaded.position("$.zzz") == (1, 1)


@given(st.text(max_size=200) | st.binary(max_size=200))
def test_nothing_else_is_ever_raised(text: str | bytes) -> None:
    try:
        load_yaml(text, source="f")
    except YamlError as error:
        assert str(error).startswith("f:")
