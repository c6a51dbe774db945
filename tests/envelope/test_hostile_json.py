"""What anybody may send: no bytes raise, hostile JSON is malformed, another spelling of the same is not canonical."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.envelope.verdict import Reason
from interlock.envelope.verification import decode
from tests.envelope.checking import BASE, SUBJECT, check
from tests.envelope.samples import ENVELOPES, KINDS


@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_arbitrary_bytes_never_raise(data: bytes) -> None:
    assert check(data, SUBJECT).reason in (Reason.MALFORMED, Reason.UNKNOWN_VERSION)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(KINDS), st.data())
def test_any_json_in_any_field_never_raises(kind: str, data: st.DataObject) -> None:
    plain = msgspec.json.decode(ENVELOPES[kind].wire)
    holder = data.draw(st.sampled_from([plain, plain["payload"], plain["budget"], plain["policyContext"]]))
    field = data.draw(st.sampled_from(sorted(holder)) | st.text(max_size=5))
    holder[field] = data.draw(JSON)
    wire = msgspec.json.encode(plain, order="sorted")
    assert check(wire, ENVELOPES[kind].envelope.subject).ok == (wire == ENVELOPES[kind].wire)


SIZE = 256 * 1024
HOSTILE = {
    "nothing": b"",
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 40_000,
    "deep and closed": b"[" * 100_000 + b"]" * 100_000,
    "deep in a payload": BASE.wire.replace(b'"risk_hints":{}', b'"risk_hints":' + b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
    "deeper than allowed": BASE.wire.replace(b'"risk_hints":{}', b'"risk_hints":' + b'{"a":' * 33 + b"1" + b"}" * 33),
    "byte order mark": b"\xef\xbb\xbf" + BASE.wire,
    "invalid UTF-8": BASE.wire.replace(b"prove it", b"prove \xff\xfe"),
    "UTF-8 of a surrogate": BASE.wire.replace(b"prove it", b"prove \xed\xa0\x80"),
    "overlong UTF-8": BASE.wire.replace(b"prove it", b"prove \xc0\xaf"),
    "UTF-16": BASE.wire.decode().encode("utf-16"),
    "escaped lone surrogate": BASE.wire.replace(b"prove it", b"prove \\ud800"),
    "escaped lone surrogate as key": BASE.wire.replace(b'"risk_hints":{}', b'"risk_hints":{"\\udfff":1}'),
    "raw control character": BASE.wire.replace(b"prove it", b"prove\x00it"),
    "beyond a double": BASE.wire.replace(b'"seed":0', b'"seed":1e400'),
    "beyond a double, free-form": BASE.wire.replace(b'"risk_hints":{}', b'"risk_hints":{"a":1e400}'),
    "a float, free-form": BASE.wire.replace(b'"risk_hints":{}', b'"risk_hints":{"a":1.5}'),
    "a whole float, free-form": BASE.wire.replace(b'"risk_hints":{}', b'"risk_hints":{"a":1.0}'),
    "NaN": BASE.wire.replace(b'"seed":0', b'"seed":NaN'),
    "Infinity": BASE.wire.replace(b'"seed":0', b'"seed":-Infinity'),
    "2^53": BASE.wire.replace(b'"seed":0', b'"seed":9007199254740992'),
    "2^53, free-form": BASE.wire.replace(b'"risk_hints":{}', b'"risk_hints":{"a":9007199254740992}'),
    "2^64": BASE.wire.replace(b'"seed":0', b'"seed":18446744073709551616'),
    "five thousand digits": BASE.wire.replace(b'"seed":0', b'"seed":' + b"9" * 5000),
    "five thousand digits, free-form": BASE.wire.replace(b'"risk_hints":{}', b'"risk_hints":{"a":' + b"9" * 5000 + b"}"),
    "five thousand digits, alone": b"9" * 5000,
    "leading zero": BASE.wire.replace(b'"actions":9', b'"actions":09'),
    "minus": BASE.wire.replace(b'"actions":9', b'"actions":-9'),
    "text for a number": BASE.wire.replace(b'"actions":9', b'"actions":"9"'),
    "two documents": BASE.wire + BASE.wire,
    "many documents": b"{}" * 100_000,
    "null": b"null",
    "a list of it": b"[" + BASE.wire + b"]",
    "cut": BASE.wire[:-1],
    "unknown payload type": BASE.wire.replace(b'"type":"intake"', b'"type":"intakes"'),
    "unknown field": BASE.wire.replace(b'{"attestations"', b'{"aa":1,"attestations"'),
    "unknown field in the payload": BASE.wire.replace(b'"budget_limits"', b'"__proto__":1,"budget_limits"'),
    "a whole float": BASE.wire.replace(b'"actions":9', b'"actions":9.0'),
    "an exponent": BASE.wire.replace(b'"actions":9', b'"actions":9e0'),
    "a version of another type": BASE.wire.replace(b'"specVersion":"1.0"', b'"specVersion":1.0'),
}  # fmt: skip


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_json_is_malformed(data: bytes) -> None:
    assert data != BASE.wire
    assert len(data) <= SIZE
    checked = check(data, SUBJECT)
    assert checked.reason is Reason.MALFORMED
    assert checked.envelope is None
    assert checked.detail.isprintable()
    assert len(checked.detail) <= 300


def test_size_is_looked_at_before_anything_else() -> None:
    for data in (b"{}" * 5_000_000, b"[" * 10_000_000, BASE.wire + b" " * SIZE, b"\xff" * (SIZE + 1)):
        assert check(data, SUBJECT).reason is Reason.TOO_LARGE


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"actions":9', b'"actions": 9'),
        (b'"seed":0', b'"seed":-0'),
        (b'"actions":9', b'"actions":9,"actions":9'),
        (b'"actions":9', b'"actions":8,"actions":9'),
        (b'"default"', b'"d\\u0065fault"'),
        (b'"prove it"', b'"prove\\u0020it"'),
        (b'"specVersion":"1.0",', b""),
        (b',"submitted_by":""', b""),
        (b'{"attestations":[],', b'{"budget":{},"attestations":[],'),
        (b'{"attestations"', b' {"attestations"'),
        ('"знач"'.encode(), b'"\\u0437\\u043d\\u0430\\u0447"'),
        ("😀".encode(), b"\\ud83d\\ude00"),
    ],
)
def test_another_spelling_of_the_same_is_not_canonical(old: bytes, new: bytes) -> None:
    assert old in BASE.wire
    assert decode(BASE.wire.replace(old, new, 1)).reason is Reason.NOT_CANONICAL


@pytest.mark.parametrize("tail", [b"\n", b" ", b"\t\r\n"])
def test_white_space_around_is_not_canonical(tail: bytes) -> None:
    assert decode(BASE.wire + tail).reason is Reason.NOT_CANONICAL


def test_a_later_version_is_told_from_garbage() -> None:
    later = BASE.wire.replace(b'"specVersion":"1.0"', b'"specVersion":"2.0"')
    for wire in (later, later.replace(b'{"attestations"', b'{"aNewField":1,"attestations"'), b'{"specVersion":"2.0"}'):
        assert decode(wire).reason is Reason.UNKNOWN_VERSION


def test_a_detail_cannot_steer_a_terminal() -> None:
    detail = decode(b'{"specVersion":"1.0","a\\u001b[31m\\n\\u202e\\u0000":1}').detail
    assert "unknown field `a" in detail
    assert detail.isprintable()
