"""Whole envelopes out of thin air: a hypothesis strategy for any msgspec type, read from the type itself.

A field, bound or pattern added to a Struct is generated from then on, with nothing to be changed here.
"""

from __future__ import annotations

import functools
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import UNSET, inspect

from interlock.envelope.amounts import MAX_INT
from interlock.envelope.canonical import MAX_DEPTH
from interlock.envelope.model import Envelope, confidence

# The characters on which canonical forms differ: controls, quotes, line separators, private use, full width, beyond the BMP.
AWKWARD = st.sampled_from(
    '\x00\x1f\x7f"\\/\b\n\u0080\u2028\u202e\ud7ff\ue000\uf8ff\ufeff\uff21\uffff\U00010000\U0001f600\U0010ffff'
)
TEXT = st.text(AWKWARD | st.characters(exclude_categories=["Cs"]), max_size=8)
INTEGERS = st.sampled_from([0, -1, MAX_INT, -MAX_INT, 2**31, 2**32]) | st.integers(-MAX_INT, MAX_INT)
PLAIN = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)


@st.composite
def deep(draw: st.DrawFn) -> dict[str, Any]:
    """An object exactly as deep as one may be."""
    value: Any = draw(INTEGERS)
    for wrap_in_list in draw(st.lists(st.booleans(), min_size=MAX_DEPTH - 1, max_size=MAX_DEPTH - 1)):
        value = [value] if wrap_in_list else {"\ue000": value, "\U0001f600": None}
    return {"deep": value}


OBJECTS = st.dictionaries(TEXT, PLAIN, max_size=4) | deep()


def of_type(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """Valid wire values (plain JSON) of a msgspec type."""
    match kind:
        case inspect.Metadata(extra_json_schema={"pattern": pattern}):  # spelling.py looks at it
            return st.from_regex(pattern).filter(lambda text: text.isascii())
        case inspect.Metadata():
            return of_type(kind.type)
        case inspect.AnyType():
            return PLAIN
        case inspect.NoneType():
            return st.none()
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType():
            low = kind.ge if kind.ge is not None else -MAX_INT if kind.gt is None else kind.gt + 1
            high = kind.le if kind.le is not None else MAX_INT
            return st.sampled_from([low, high]) | st.integers(low, high)
        case inspect.StrType(pattern=str(pattern)):
            return st.from_regex(pattern).filter(lambda text: text.isascii())
        case inspect.StrType():
            return TEXT
        case inspect.LiteralType():
            return st.sampled_from(kind.values)
        case inspect.ListType():
            most = 2 if kind.max_length is None else min(2, kind.max_length)
            return st.lists(of_type(kind.item_type), min_size=kind.min_length or 0, max_size=most)
        case inspect.DictType(value_type=inspect.AnyType()):
            return OBJECTS
        case inspect.DictType():
            return st.dictionaries(TEXT, of_type(kind.value_type), max_size=3)
        case inspect.UnionType():
            return st.one_of([of_type(one) for one in kind.types])
        case inspect.StructType():
            return of_struct(kind.cls)
    raise AssertionError(f"a type the strategies do not know: {kind}")


@functools.cache
def of_struct(struct: type) -> st.SearchStrategy[dict[str, Any]]:
    """Valid wire objects of a Struct; optional fields come and go."""
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    required = {field.encode_name: of_type(field.type) for field in info.fields if field.required}
    optional = {field.encode_name: of_type(field.type) for field in info.fields if not field.required}
    if info.tag_field is not None:
        required[info.tag_field] = st.just(info.tag)
    return st.fixed_dictionaries(required, optional=optional)


_HEAD = inspect.type_info(Envelope)
assert isinstance(_HEAD, inspect.StructType)
(_PAYLOAD,) = (field.type for field in _HEAD.fields if field.name == "payload")
assert isinstance(_PAYLOAD, inspect.UnionType)
PAYLOAD_TYPES: dict[str, type] = {
    str(one.tag): one.cls for one in _PAYLOAD.types if isinstance(one, inspect.StructType)
}
_FIELDS = {
    field.encode_name: of_type(field.type)
    for field in _HEAD.fields
    if field.name not in ("payload", "confidence_score", "thinking_budget", "signature", "spec_version", "created_at")
}
_MAYBE = ("parentId", "parentDigest", "sbomHash", "watermark")


@st.composite
def envelopes(draw: st.DrawFn, kind: str | None = None) -> Envelope:
    """An unsigned envelope of the given payload type, or of any."""
    name = kind or draw(st.sampled_from(sorted(PAYLOAD_TYPES)))
    wire: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {field: strategy for field, strategy in _FIELDS.items() if field not in _MAYBE},
            optional={field: _FIELDS[field] for field in _MAYBE},
        )
    )
    wire["payload"] = draw(of_struct(PAYLOAD_TYPES[name]))
    wire["confidenceScore"] = confidence(draw(st.integers(0, 1000)))
    wire["thinkingBudget"] = wire["budget"].get("thinkingTokens", 0)
    wire["createdAt"] = draw(st.datetimes()).isoformat(timespec="milliseconds") + "Z"
    envelope = msgspec.convert(wire, Envelope)
    assert envelope.signature is UNSET
    return envelope
