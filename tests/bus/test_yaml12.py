"""YAML without surprises: scalars of YAML 1.2, places for every error, bounds for every attack."""

from __future__ import annotations

import re
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.bus.yaml12 import YamlError, load_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"), ("yes", "yes"), ("NO", "NO"), ("1:30", "1:30"), ("2020-01-01", "2020-01-01"), ("010", 10), ("0o10", 8),
        ("0x1F", 31), ("1_000", "1_000"), ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5), ("~", None), ("", None), ("null", None),
        ("True", True), ("'true'", "true"), ("-7", -7), ("+7", 7), ("0b1", "0b1"), ("a: {b: [1, x]}", {"a": {"b": [1, "x"]}}),
        ("é: ü", {"é": "ü"}), ("a: &x 1\nb: *x", {"a": 1, "b": 1}), ("9" * 80, "9" * 80),
        ("1e999", "1e999"), (".inf", ".inf"), ("-.nan", "-.nan"), ("\ufeffa: 1", {"a": 1}), ("'\\ud800'", "\\ud800"),
        ("a: &x b\nc: *x", {"a": "b", "c": "b"}), ("!!str 5", 5), ("é: 1\n'é ': 2", {"é": 1, "é ": 2}),
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
        ("\x00", "f:1:1", "0x0"),
        ("a: 1\nb: \x07", "f:2:4", "0x7"),
        ('a: "\\UFFFFFFFF"', "f:1:", "not YAML"),
        ('a: "\\U00110000"', "f:1:", "not YAML"),
        ('a: "\\ud800"', "f:1:4", "surrogate"),
        ('"\\udfff": 1', "f:1:1", "surrogate"),
        ("%YAML " + "9" * 5_000 + ".1\n--- a", "f:1:", "not YAML"),
        ("!local k: 1", "f:1:1", "not allowed"),
        ("? " + "k" * 1_025 + "\n: 1", "f:1:3", "at most 1024"),
        ("1: a\n'1': b", "f:2:1", "twice"),
        ("&a [*a]", "f:1:1", "too many"),
        ("[" + "1," * 100_000 + "]", "f:1:", "more than"),
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


def test_places_take_a_bounded_memory() -> None:
    """60 levels of keys of 1,000 characters around a long list: each path is as long as all the keys."""
    keys = "".join("{" + "k" * 1_000 + ": " for _ in range(60))
    tracemalloc.start()
    loaded = load_yaml(keys + "[" + "1," * 2_000 + "]" + "}" * 60, source="f")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 << 20
    inner = "$" + ("." + "k" * 1_000) * 60
    assert loaded.position(inner + "[1999]") in [(1, column) for column in range(60_000, 65_000)], "the list, at least"


PIECES = [
    "a",
    "é",
    ":",
    ": ",
    "- ",
    "? ",
    "\n",
    "  ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "&x ",
    "*x",
    "!!int ",
    "!t ",
    "'",
    '"',
    "|\n",
]
PIECES += [
    ">",
    "#",
    "---",
    "...",
    "%YAML 1.2",
    "%TAG ! x",
    "\\",
    "\\U00110000",
    "\\ud800",
    "<<",
    "0x1",
    "1e9",
    "\t",
    "\r",
    "~",
]
SYNTAX = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


@settings(max_examples=500)
@given(SYNTAX | st.text(max_size=200) | st.binary(max_size=200))
def test_nothing_else_is_ever_raised(text: str | bytes) -> None:
    try:
        value = load_yaml(text, source="f").value
    except YamlError as error:
        assert re.match(r"f:[0-9]+:[0-9]+: [^\n]+\Z", str(error))
    else:
        assert msgspec.json.decode(msgspec.json.encode(value)) == value, "it is JSON"


TOKENS = [
    *("a", "b: ", "- ", "\n", "\n  ", "\n    ", "\n- ", ": ", ":", "{", "}", "[", "]", ",", ", ", "'", '"', "|\n", "|+\n ", ">-\n  "),
    *("&x ", "*x", "!t ", "!!str ", "#", "# c", " ", "1", "~", "-", "?", "? ", "'a'", '"b\\n"', "null", "<<: ", "@", "%", "\n\n"),
    *("---\n", "\n...", "a: b\n", "- - ", "{a: }", "\t", "\u00e4", "\u2028", "\U0001f600"),
]  # fmt: skip


def told(text: str) -> object:
    try:
        loaded = load_yaml(text, source="f")
    except YamlError as error:
        return str(error)
    return repr(loaded.value), loaded.positions, loaded.keys


@settings(max_examples=2_000)
@given(st.lists(st.sampled_from(TOKENS), max_size=14).map("".join))
def test_what_libyaml_composes_is_what_python_composes(text: str) -> None:
    quick = told(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("yaml.__with_libyaml__", False)
        assert quick == told(text)


def test_libyaml_is_asked_for_what_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.bus.yaml12._composed_slowly", None)
    text = "name: a\nlist:\n  - {b: 1, c: [x, 'y']}  # and a comment\n  - |\n    two\n    lines\n"
    assert load_yaml(text, source="f").value == {"name": "a", "list": [{"b": 1, "c": ["x", "y"]}, "two\nlines\n"]}
