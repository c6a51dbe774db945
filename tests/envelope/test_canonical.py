"""The canonical form: msgspec's bytes are RFC 8785's for every envelope there can be (ADR 2)."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from interlock.envelope import canonical as canonical_form
from interlock.envelope.amounts import MAX_INT
from interlock.envelope.canonical import MAX_DEPTH, canonical, check_plain
from interlock.envelope.model import Envelope, confidence
from interlock.envelope.signing import has_valid_signature, seal
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import Limits, decode
from tests.envelope.samples import KEYS, KINDS, make
from tests.envelope.strategies import PAYLOAD_TYPES, PLAIN, TEXT, envelopes

ROOMY = Limits(max_bytes=1 << 20)


def test_every_payload_type_is_generated_and_sampled() -> None:
    assert set(PAYLOAD_TYPES) == set(KINDS)


@given(envelopes())
def test_every_envelope_has_the_bytes_of_rfc8785_and_comes_back_the_same(envelope: Envelope) -> None:
    sealed = seal(envelope, KEYS["executor"])
    assert sealed.wire == rfc8785.dumps(json.loads(sealed.wire))
    checked = decode(sealed.wire, ROOMY)
    assert (checked.reason, checked.detail) == (Reason.OK, "")
    assert checked.envelope == sealed.envelope
    assert checked.digest == sealed.digest
    assert has_valid_signature(sealed.envelope)


@given(PLAIN)
def test_plain_values_have_the_bytes_of_rfc8785(value: Any) -> None:
    check_plain(value)
    assert canonical(value) == rfc8785.dumps(value)


@given(st.dictionaries(st.sampled_from("a\ue000\uffff\U00010000\U0010ffff") | TEXT, st.integers(0, 9), max_size=6))
def test_keys_are_in_utf16_order(value: dict[str, int]) -> None:
    keys = list(json.loads(canonical(value)))
    assert keys == sorted(value, key=lambda key: key.encode("utf-16-be"))


def test_keys_by_the_sample_of_the_rfc() -> None:
    """RFC 8785, section 3.2.3."""
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    ordered = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    assert list(json.loads(canonical(dict.fromkeys(keys)))) == ordered


def test_scores_are_written_as_ecmascript_does() -> None:
    envelope = make("intake").envelope
    for per_mille in range(1001):
        digits = f"{per_mille % 1000:03d}".rstrip("0")
        text = f"{per_mille // 1000}.{digits}" if digits else str(per_mille // 1000)
        scored = msgspec.structs.replace(envelope, confidence_score=confidence(per_mille))
        assert f'"confidenceScore":{text},'.encode() in canonical(scored)


@pytest.mark.parametrize(
    "score", [0.8501, 1.0, 0.0, -0.0, -0.1, 1.001, 1e-4, float("nan"), float("inf"), True, "1", None]
)
def test_confidence_has_three_decimals_at_most(score: Any) -> None:
    plain = msgspec.to_builtins(make("intake").envelope) | {"confidenceScore": score}
    with pytest.raises((ValueError, msgspec.ValidationError)):
        msgspec.convert(plain, Envelope)


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        {"a": [0.1]},
        {1: "x"},
        MAX_INT + 1,
        -MAX_INT - 1,
        {"a": "\ud800"},
        {"\udc00": 1},
        b"x",
        (1,),
        {1},
        float("nan"),
    ],
    ids=repr,
)
def test_what_may_not_travel(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^\$"):
        check_plain(value)


ODD = st.one_of(st.floats(), st.binary(), st.integers(), st.just("\ud800"), st.tuples(st.integers()))
MIXED = st.recursive(
    st.one_of(PLAIN, ODD),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.one_of(TEXT, st.integers()), inner)),
    max_leaves=8,
)


@given(MIXED)
def test_the_short_look_overlooks_no_fault(value: Any) -> None:
    if canonical_form._is_plain(value):
        canonical_form._find_fault(value, "$")


def test_a_refusal_names_the_place() -> None:
    with pytest.raises(ValueError, match=r"^\$\.input\.a\[1\]\.b: float"):
        check_plain({"a": [0, {"b": 0.5}]}, "$.input")


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: {"a": value}], ids=["lists", "objects"])
def test_nesting_is_bounded(wrap: Any) -> None:
    value: Any = 1
    for _ in range(MAX_DEPTH):
        value = wrap(value)
    check_plain(value)
    with pytest.raises(ValueError, match="nested deeper"):
        check_plain(wrap(value))
    for _ in range(50_000):
        value = wrap(value)
    with pytest.raises(ValueError, match="nested deeper"):
        check_plain(value)
    while value != 1:  # taken apart one by one: freeing so deep a value at once may exhaust the C stack
        value = value[0] if isinstance(value, list) else value["a"]
