"""What must hold for every envelope: canonical bytes, round trips, refusal of any change, no exception for any bytes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.envelope.canonical import canonical
from interlock.envelope.keys import SigningKey
from interlock.envelope.model import Envelope
from interlock.envelope.replay import ReplayMemory
from interlock.envelope.signing import Sealed, seal
from interlock.envelope.trust import Trust
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import Checked, Limits, decode, verify

NOW = 1_763_700_000_000
KINDS = [
    "intake",
    "plan_draft",
    "risk_assessment",
    "plan_verdict",
    "task",
    "task_result",
    "verification",
    "audit_request",
    "audit_report",
    "knowledge_request",
    "knowledge_pack",
    "escalation",
    "decision",
    "completion",
    "halt_notice",
]
RELAXED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def check(wire: bytes, trust: Trust, subject: str, **more: Any) -> Checked:
    return verify(wire, subject=subject, recipient="", trust=trust, **{"now_ms": NOW + 10, **more})


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=20,
)


@RELAXED
@given(
    kind=st.sampled_from(KINDS),
    inputs=st.dictionaries(TEXT, PLAIN, max_size=6),
    score=st.integers(0, 1000),
    tags=st.lists(TEXT, max_size=3),
)
def test_canonical_bytes_are_those_of_rfc8785(
    envelopes: dict[str, Sealed], trust: Trust, kind: str, inputs: dict[str, Any], score: int, tags: list[str]
) -> None:
    envelope = envelopes[kind].envelope
    payload = envelope.payload
    for name in ("inputs", "input", "output"):
        if name in payload.__struct_fields__:
            payload = msgspec.structs.replace(payload, **{name: inputs})
    confidence = score // 1000 if score % 1000 == 0 else score / 1000
    changed = msgspec.structs.replace(envelope, payload=payload, confidence_score=confidence, compliance_tags=tags)
    wire = canonical(changed)
    assert wire == rfc8785.dumps(msgspec.json.decode(wire))
    key = SigningKey(b"k" * 32)
    sealed = seal(changed, key)
    assert decode(sealed.wire).reason is Reason.OK
    assert check(sealed.wire, trust, envelope.subject).reason is Reason.UNKNOWN_KEY


@pytest.mark.parametrize("kind", KINDS)
def test_every_payload_verifies(envelopes: dict[str, Sealed], trust: Trust, kind: str) -> None:
    sealed = envelopes[kind]
    checked = check(sealed.wire, trust, sealed.envelope.subject)
    assert (checked.reason, checked.digest) == (Reason.OK, sealed.digest)


@pytest.mark.parametrize("kind", ["intake", "task_result"])
def test_any_changed_byte_is_refused(envelopes: dict[str, Sealed], trust: Trust, kind: str) -> None:
    """Exhaustive over positions, with bytes that keep it JSON where possible."""
    sealed = envelopes[kind]
    wire, subject = sealed.wire, sealed.envelope.subject
    for position in range(len(wire)):
        for replacement in (wire[position] ^ 1, ord("0"), ord('"')):
            if replacement != wire[position]:
                changed = wire[:position] + bytes([replacement]) + wire[position + 1 :]
                assert not check(changed, trust, subject).ok, (position, chr(replacement))


@RELAXED
@given(data=st.data())
def test_dropped_inserted_and_swapped_bytes_are_refused(
    envelopes: dict[str, Sealed], trust: Trust, data: st.DataObject
) -> None:
    sealed = envelopes[data.draw(st.sampled_from(KINDS))]
    wire = sealed.wire
    start = data.draw(st.integers(0, len(wire)))
    end = data.draw(st.integers(start, min(len(wire), start + 40)))
    changed = wire[:start] + data.draw(st.binary(max_size=8)) + wire[end:]
    assert check(changed, trust, sealed.envelope.subject).ok == (changed == wire)


@RELAXED
@given(st.sampled_from(KINDS), st.sampled_from(KINDS), st.sampled_from(Envelope.__struct_fields__))
def test_fields_swapped_between_envelopes_are_refused(
    envelopes: dict[str, Sealed], trust: Trust, kind: str, other_kind: str, field: str
) -> None:
    one, other = envelopes[kind].envelope, envelopes[other_kind].envelope
    try:
        swapped = msgspec.structs.replace(one, **{field: getattr(other, field)})
    except ValueError:
        return  # such an envelope cannot even be made
    if swapped != one:
        assert not check(canonical(swapped), trust, swapped.subject).ok


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"subject": "interlock.default.role.executor.x.act"}, Reason.WRONG_SUBJECT),
        ({"recipient": "executor"}, Reason.WRONG_RECIPIENT),
        ({"now_ms": NOW + 600_000 + 5_001}, Reason.EXPIRED),
        ({"now_ms": NOW - 5_001}, Reason.FROM_FUTURE),
        ({"limits": Limits(max_ttl_ms=1_000)}, Reason.TTL_TOO_LONG),
        ({"limits": Limits(max_bytes=100)}, Reason.TOO_LARGE),
    ],
)
def test_circumstances_have_their_reasons(
    envelopes: dict[str, Sealed], trust: Trust, change: dict[str, Any], reason: Reason
) -> None:
    sealed = envelopes["intake"]
    arguments = {"subject": sealed.envelope.subject, "recipient": "orchestrator", "now_ms": NOW, "trust": trust}
    assert verify(sealed.wire, **arguments).ok  # type: ignore[arg-type]
    assert verify(sealed.wire, **arguments | change).reason is reason  # type: ignore[arg-type]


def test_skew_is_allowed_exactly_to_its_bound(envelopes: dict[str, Sealed], trust: Trust) -> None:
    sealed = envelopes["intake"]
    assert check(sealed.wire, trust, sealed.envelope.subject, now_ms=NOW - 5_000).ok
    assert check(sealed.wire, trust, sealed.envelope.subject, now_ms=NOW + 605_000).ok


def test_another_key_and_another_agent_are_refused(envelopes: dict[str, Sealed], trust: Trust) -> None:
    envelope = envelopes["task"].envelope
    stranger = seal(envelope, SigningKey(b"s" * 32))
    assert check(stranger.wire, trust, envelope.subject).reason is Reason.UNKNOWN_KEY
    executor = trust.store.agents[3].keys[0].key_id
    borrowed = msgspec.structs.replace(envelopes["task_result"].envelope, sender="evaluator")
    assert check(canonical(borrowed), trust, borrowed.subject).reason is Reason.KEY_NOT_FOR_AGENT
    relabelled = msgspec.structs.replace(envelope, key_id=executor, sender="executor")
    assert check(canonical(relabelled), trust, envelope.subject).reason is Reason.BAD_SIGNATURE


def test_a_replay_is_refused_and_a_redelivery_is_not(envelopes: dict[str, Sealed], trust: Trust) -> None:
    sealed, memory = envelopes["intake"], ReplayMemory(capacity=2)
    subject = sealed.envelope.subject
    assert check(sealed.wire, trust, subject, memory=memory, sequence=7).ok
    assert check(sealed.wire, trust, subject, memory=memory, sequence=7).ok
    assert check(sealed.wire, trust, subject, memory=memory, sequence=8).reason is Reason.REPLAYED
    assert memory.admit("b", 1, NOW + 5, NOW)
    assert not memory.admit("c", 1, NOW + 5, NOW), "a full memory refuses rather than forgets"
    assert memory.admit("c", 1, NOW + 50, NOW + 6), "what is dead makes room"
    assert len(memory) == 2


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_arbitrary_bytes_never_raise(data: bytes) -> None:
    assert decode(data).reason in (Reason.MALFORMED, Reason.NOT_CANONICAL, Reason.UNKNOWN_VERSION)


HOSTILE = [
    b"[" * 200_000,
    b'{"a":' * 40_000,
    b"\xef\xbb\xbf{}",
    b'{"specVersion":"1.0","specVersion":"1.0"}',
    b'"\\ud800"',
    b"1e400",
    b"-0",
    b"NaN",
    b"9" * 5000,
    b"{}" * 50_000,
    b'{"specVersion":"2.0"}',
    b"\x00",
    "{\u2028}".encode(),
]


@pytest.mark.parametrize("data", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_json_is_refused(data: bytes) -> None:
    reason = decode(data).reason
    assert reason is (Reason.UNKNOWN_VERSION if b"2.0" in data else Reason.MALFORMED)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"actions":9', b'"actions":9.0'),
        (b'"actions":9', b'"actions":09'),
        (b'"actions":9', b'"actions": 9'),
        (b'"actions":9', b'"actions":9,"actions":9'),
        (b'"default"', b'"d\\u0065fault"'),
        (b'"confidenceScore":1', b'"confidenceScore":1.0'),
        (b'"prove it"', b'"prove\\u0020it"'),
    ],
)
def test_another_spelling_of_the_same_is_not_canonical(envelopes: dict[str, Sealed], old: bytes, new: bytes) -> None:
    wire = envelopes["intake"].wire
    assert old in wire
    assert decode(wire.replace(old, new, 1)).reason in (Reason.NOT_CANONICAL, Reason.MALFORMED)
    assert decode(wire + b"\n").reason in (Reason.NOT_CANONICAL, Reason.MALFORMED)
    assert decode(wire + b"{}").reason is Reason.MALFORMED


@pytest.mark.parametrize("score", [0.8501, 1.0, 0.0, -0.1, 1.001, float("nan")])
def test_confidence_has_three_decimals_at_most(envelopes: dict[str, Sealed], score: float) -> None:
    with pytest.raises((ValueError, msgspec.ValidationError)):
        msgspec.convert(msgspec.to_builtins(envelopes["intake"].envelope) | {"confidenceScore": score}, Envelope)
