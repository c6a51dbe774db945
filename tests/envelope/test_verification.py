"""Verification: every valid envelope passes, any change and any wrong circumstance has its reason."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from interlock.envelope.amounts import timestamp
from interlock.envelope.canonical import canonical
from interlock.envelope.keys import SigningKey, base64url
from interlock.envelope.model import Attestation, Envelope, Watermark
from interlock.envelope.replay import ReplayMemory
from interlock.envelope.signing import (
    ENVELOPE_DOMAIN,
    STATEMENT_DOMAIN,
    attest,
    has_valid_signature,
    is_valid_attestation,
    pre_auth,
    seal,
    signed_part,
    signed_part_of,
)
from interlock.envelope.trust import AgentRecord, KeyRecord, Trust, TrustStore, load, sign_store
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import Checked, Limits, verify
from tests.envelope.checking import BASE, SUBJECT, check
from tests.envelope.samples import ENVELOPES, KEYS, KINDS, NOW, ROOT, TRUST, make_trust
from tests.envelope.strategies import envelopes

TAMPERED = {Reason.MALFORMED, Reason.NOT_CANONICAL, Reason.UNKNOWN_VERSION, Reason.UNKNOWN_KEY, Reason.KEY_NOT_FOR_AGENT,
            Reason.BAD_SIGNATURE, Reason.WRONG_WORKSPACE, Reason.KEY_NOT_YET_VALID, Reason.KEY_EXPIRED}  # fmt: skip


def judge(envelope: Envelope, key: SigningKey = KEYS["gateway"], **more: Any) -> Reason:
    """Sealed by somebody who holds this key, and sent on the subject it names."""
    return check(seal(envelope, key).wire, envelope.subject, **more).reason


def changed(**fields: Any) -> Envelope:
    return msgspec.structs.replace(BASE.envelope, **fields)


@pytest.mark.parametrize("kind", KINDS)
def test_every_payload_verifies(kind: str) -> None:
    sealed = ENVELOPES[kind]
    checked = check(sealed.wire, sealed.envelope.subject, recipient=sealed.envelope.recipients[0])
    assert (checked.reason, checked.digest, checked.envelope) == (Reason.OK, sealed.digest, sealed.envelope)


@given(envelopes())
def test_every_envelope_there_can_be_is_authentic_until_a_byte_is_changed(envelope: Envelope) -> None:
    """Generated from the types: any fields, any payload; its sender's key is enrolled for just this agent and time."""
    key = KEYS["executor"]
    created = envelope.created_at
    record = KeyRecord(key_id=key.key_id, not_before=created, not_after="9999-12-31T23:59:59.999Z")
    agent = AgentRecord(agent=envelope.sender, keys=[record])
    assume(created < record.not_after)
    trust = Trust(TrustStore(workspace=envelope.workspace, version=1, issued_at=timestamp(NOW), agents=[agent]))
    sealed = seal(envelope, key)
    roomy = Limits(max_bytes=1 << 20)

    def judged(wire: bytes) -> Checked:
        return verify(wire, subject=envelope.subject, recipient="", trust=trust, now_ms=NOW, limits=roomy)

    # Random subjects and times: authentic, and then refused by the route.
    assert judged(sealed.wire).reason in (Reason.WRONG_SUBJECT, Reason.WRONG_RECIPIENT)
    middle = len(sealed.wire) // 2
    bent = sealed.wire[:middle] + bytes([sealed.wire[middle] ^ 1]) + sealed.wire[middle + 1 :]
    assert judged(bent).reason in TAMPERED


@pytest.mark.parametrize("kind", KINDS)
def test_any_changed_byte_is_refused(kind: str) -> None:
    """Exhaustive over positions, with bytes that keep it JSON where possible."""
    sealed = ENVELOPES[kind]
    wire, subject = sealed.wire, sealed.envelope.subject
    for position, byte in enumerate(wire):
        for other in {byte ^ 1, ord("0"), ord('"')} - {byte}:
            bent = wire[:position] + bytes([other]) + wire[position + 1 :]
            assert check(bent, subject).reason in TAMPERED, (position, chr(other))


@given(st.data())
def test_dropped_inserted_and_swapped_bytes_are_refused(data: st.DataObject) -> None:
    sealed = ENVELOPES[data.draw(st.sampled_from(KINDS))]
    wire = sealed.wire
    start = data.draw(st.integers(0, len(wire)))
    end = data.draw(st.integers(start, min(len(wire), start + 40)))
    bent = wire[:start] + data.draw(st.binary(max_size=8)) + wire[end:]
    assert check(bent, sealed.envelope.subject).reason in (TAMPERED if bent != wire else {Reason.OK})


@pytest.mark.parametrize("field", Envelope.__struct_fields__)
def test_fields_swapped_between_envelopes_are_refused(field: str) -> None:
    """Every ordered pair of kinds: what one says, put into the other's mouth."""
    swaps = differences = 0
    for one in ENVELOPES.values():
        for other in ENVELOPES.values():
            value = getattr(other.envelope, field)
            if value == getattr(one.envelope, field):
                continue
            differences += 1
            try:
                swapped = msgspec.structs.replace(one.envelope, **{field: value})
            except ValueError:
                continue  # thinkingBudget must equal the budget's: such an envelope cannot even be made
            swaps += 1
            assert check(canonical(swapped), swapped.subject).reason in TAMPERED
    assert swaps == 0 if field in ("budget", "thinking_budget") else swaps == differences


CIRCUMSTANCES = {
    "as it should be": ({}, Reason.OK),
    "an observer": ({"recipient": ""}, Reason.OK),
    "an instance of the role": ({"recipient": "orchestrator.2"}, Reason.OK),
    "another role's subject": ({"subject": SUBJECT.replace("orchestrator", "executor")}, Reason.WRONG_SUBJECT),
    "another goal's subject": ({"subject": SUBJECT.replace("019a", "019b")}, Reason.WRONG_SUBJECT),
    "another workspace's subject": ({"subject": SUBJECT.replace("default", "other")}, Reason.WRONG_SUBJECT),
    "another intent": ({"subject": SUBJECT.replace(".plan", ".act")}, Reason.WRONG_SUBJECT),
    "one token more": ({"subject": SUBJECT + ".x"}, Reason.WRONG_SUBJECT),
    "no subject": ({"subject": ""}, Reason.WRONG_SUBJECT),
    "another reader": ({"recipient": "executor"}, Reason.WRONG_RECIPIENT),
    "a reader of like name": ({"recipient": "orchestrators"}, Reason.WRONG_RECIPIENT),
    "the last millisecond": ({"now_ms": NOW + 605_000}, Reason.OK),
    "late": ({"now_ms": NOW + 605_001}, Reason.EXPIRED),
    "just early enough": ({"now_ms": NOW - 5_000}, Reason.OK),
    "from the future": ({"now_ms": NOW - 5_001}, Reason.FROM_FUTURE),
    "no skew, late": ({"now_ms": NOW + 600_001, "limits": Limits(skew_ms=0)}, Reason.EXPIRED),
    "the longest ttl": ({"limits": Limits(max_ttl_ms=600_000)}, Reason.OK),
    "ttl too long": ({"limits": Limits(max_ttl_ms=599_999)}, Reason.TTL_TOO_LONG),
    "just small enough": ({"limits": Limits(max_bytes=len(BASE.wire))}, Reason.OK),
    "too large": ({"limits": Limits(max_bytes=len(BASE.wire) - 1)}, Reason.TOO_LARGE),
    "revoked": ({"trust": make_trust(revoked_at=timestamp(NOW))}, Reason.KEY_REVOKED),
    "revoked in an hour": ({"trust": make_trust(revoked_at=timestamp(NOW + 3_600_000))}, Reason.OK),
    "key not yet valid": ({"trust": make_trust(not_before=timestamp(NOW + 1))}, Reason.KEY_NOT_YET_VALID),
    "key expired": ({"trust": make_trust(not_after=timestamp(NOW))}, Reason.KEY_EXPIRED),
}


@pytest.mark.parametrize(("change", "reason"), CIRCUMSTANCES.values(), ids=CIRCUMSTANCES)
def test_circumstances_have_their_reasons(change: dict[str, Any], reason: Reason) -> None:
    usual: dict[str, Any] = {"subject": SUBJECT, "recipient": "orchestrator", "now_ms": NOW, "trust": TRUST}
    checked = verify(BASE.wire, **usual | change)
    assert checked.reason is reason
    assert (checked.detail == "") == checked.ok


FORGERIES: dict[str, tuple[Envelope, Reason]] = {
    "untouched": (BASE.envelope, Reason.OK),
    "other workspace": (changed(workspace="other"), Reason.WRONG_WORKSPACE),
    "later major version": (changed(spec_version="2.0"), Reason.UNKNOWN_VERSION),
    "later minor version": (changed(spec_version="1.1"), Reason.UNKNOWN_VERSION),
    "in another's name": (changed(sender="orchestrator"), Reason.KEY_NOT_FOR_AGENT),
    "subject of no goal": (changed(subject="interlock.default.role.orchestrator..plan"), Reason.WRONG_SUBJECT),
    "subject outside": (changed(subject="$JS.API.STREAM.DELETE.HOPS"), Reason.WRONG_SUBJECT),
    "subject of another goal": (changed(goal_id=BASE.envelope.id), Reason.WRONG_SUBJECT),
    "subject of another intent": (changed(intent="act"), Reason.WRONG_SUBJECT),
    "to a role not of its subject": (changed(to="executor"), Reason.WRONG_RECIPIENT),
    "to many with its subject's": (changed(to=["executor", "orchestrator.1"]), Reason.OK),
    "to nobody": (changed(to=[]), Reason.MALFORMED),
    "to everybody": (changed(to="*"), Reason.MALFORMED),
    "ttl too long": (changed(ttl_ms=3_600_001), Reason.TTL_TOO_LONG),
    "no ttl": (changed(ttl_ms=0), Reason.MALFORMED),
    "dated ahead": (changed(created_at=timestamp(NOW + 5_011)), Reason.FROM_FUTURE),
    "dated back": (changed(created_at=timestamp(NOW - 700_000)), Reason.EXPIRED),
    "dated before its key": (changed(created_at=timestamp(NOW - 1_000_001)), Reason.KEY_NOT_YET_VALID),
    "dated on no day": (changed(created_at="2025-02-30T00:00:00.000Z"), Reason.MALFORMED),
    "an upper case id": (changed(id=BASE.envelope.id.upper()), Reason.MALFORMED),
    "an id with a newline": (changed(id=BASE.envelope.id + "\n"), Reason.MALFORMED),
    "a sender with a wildcard": (changed(sender="gateway.>"), Reason.MALFORMED),
}


@pytest.mark.parametrize(("envelope", "reason"), FORGERIES.values(), ids=FORGERIES)
def test_what_a_key_holder_may_not_say(envelope: Envelope, reason: Reason) -> None:
    """All validly signed by the gateway's own key."""
    assert judge(envelope) is reason


def test_another_key_and_another_agent_are_refused() -> None:
    assert judge(BASE.envelope, SigningKey(b"s" * 32)) is Reason.UNKNOWN_KEY
    assert judge(BASE.envelope, KEYS["executor"]) is Reason.KEY_NOT_FOR_AGENT
    assert judge(BASE.envelope, SigningKey(KEYS["gateway"]._seed, "A")) is Reason.UNKNOWN_KEY
    relabelled = changed(key_id=KEYS["executor"].key_id, sender="executor")
    assert check(canonical(relabelled), SUBJECT).reason is Reason.BAD_SIGNATURE
    assert check(canonical(changed(signature=msgspec.UNSET)), SUBJECT).reason is Reason.BAD_SIGNATURE


def test_a_key_in_two_hands_is_judged_by_the_agent_it_is_enrolled_for() -> None:
    window = {"not_before": timestamp(NOW - 1000), "not_after": timestamp(NOW + 1000)}
    records = [AgentRecord(agent="gateway.2", keys=[KeyRecord(key_id=KEYS["gateway"].key_id, **window)])]
    store = TrustStore(workspace="default", version=1, issued_at=timestamp(NOW), agents=records)
    trust = load(sign_store(store, [ROOT]), [ROOT.key_id])
    assert judge(BASE.envelope, trust=trust) is Reason.KEY_NOT_FOR_AGENT
    assert judge(changed(sender="gateway.2"), trust=trust) is Reason.OK


def test_signatures_of_one_domain_are_none_in_another() -> None:
    key, bare = KEYS["gateway"], changed(signature=msgspec.UNSET)
    body = canonical(bare)
    assert signed_part(BASE.envelope) == pre_auth(ENVELOPE_DOMAIN, body)
    assert pre_auth(b"\xffd", b"ab") == b"\xffd 2 ab"
    for message in (
        body,
        pre_auth(STATEMENT_DOMAIN, body),
        pre_auth(ENVELOPE_DOMAIN[1:], body),
        ENVELOPE_DOMAIN + body,
    ):
        forged = msgspec.structs.replace(bare, signature=base64url(key.sign(message)))
        assert check(canonical(forged), SUBJECT).reason is Reason.BAD_SIGNATURE
    assert ENVELOPE_DOMAIN[0] == 0xFF, "no printable nonce of a NATS server can begin so"


def test_a_signature_has_one_text() -> None:
    """The last letter of 64 bytes in base64url carries four unused bits."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    signature = str(BASE.envelope.signature)
    for letter in set(alphabet) - {signature[-1]}:
        respelled = changed(signature=signature[:-1] + letter)
        assert check(canonical(respelled), SUBJECT).reason is Reason.BAD_SIGNATURE
        assert not has_valid_signature(respelled)
    assert has_valid_signature(BASE.envelope)


def test_the_signed_part_is_cut_out_where_the_envelope_itself_is_signed() -> None:
    """Members and texts that look like the signature: before it in the payload, after it in the watermark."""
    signature = "A" * 86
    look_alike = f'"signature":"{signature}","spanId":"'
    inputs = {"signature": signature, "spanId": BASE.envelope.span_id, "x": look_alike}
    payload = msgspec.structs.replace(BASE.envelope.payload, inputs=inputs)
    mark = Watermark(algorithm="c2pa", signature=signature, timestamp=BASE.envelope.created_at)
    for text in (signature, look_alike):
        crowded = changed(
            payload=payload, watermark=msgspec.structs.replace(mark, signature=text), signature=signature, subject=text
        )
        assert signed_part_of(canonical(crowded), signature) == signed_part(crowded)
        sealed = seal(crowded, KEYS["gateway"])
        assert sealed.wire == canonical(sealed.envelope)
        assert signed_part_of(sealed.wire, str(sealed.envelope.signature)) == signed_part(sealed.envelope)
    with pytest.raises(ValueError, match="no canonical envelope"):
        signed_part_of(BASE.wire, signature)


def test_attestations_are_their_signers() -> None:
    key = KEYS["executor"]
    made = attest({"_type": "t", "a": [1, {"\uff01": 1, "\U0001f600": 2}]}, key)
    assert is_valid_attestation(made)
    others = [
        Attestation(statement={"_type": "u"}, key_id=made.key_id, signature=made.signature),
        Attestation(statement=made.statement, key_id=KEYS["auditor"].key_id, signature=made.signature),
        Attestation(statement=made.statement, key_id="U" + "A" * 55, signature=made.signature),
        Attestation(statement=made.statement, key_id=made.key_id, signature="A" * 86),
        Attestation(statement=made.statement, key_id=made.key_id, signature="*"),
        Attestation(
            statement=made.statement, key_id=made.key_id, signature=base64url(key.sign(canonical(made.statement)))
        ),
    ]
    assert [other for other in others if is_valid_attestation(other)] == []
    for statement in ({"a": 0.5}, {"a": 2**53}, {"\ud800": 1}):
        with pytest.raises(ValueError, match="attestations"):
            Attestation(statement=statement, key_id=made.key_id, signature=made.signature)


def test_a_replay_is_refused_and_a_redelivery_is_not() -> None:
    memory = ReplayMemory()
    told = [check(BASE.wire, SUBJECT, memory=memory, sequence=sequence).reason for sequence in (7, 7, 8)]
    assert told == [Reason.OK, Reason.OK, Reason.REPLAYED]
    alone = ReplayMemory()
    assert [check(BASE.wire, SUBJECT, memory=alone).reason for _ in range(2)] == [Reason.OK, Reason.REPLAYED]


def test_a_refused_message_does_not_use_up_its_id() -> None:
    memory = ReplayMemory()
    bent = BASE.wire.replace(b"prove it", b"prove us")
    assert check(bent, SUBJECT, memory=memory, sequence=1).reason is Reason.BAD_SIGNATURE
    assert check(BASE.wire, SUBJECT + "x", memory=memory, sequence=2).reason is Reason.WRONG_SUBJECT
    assert check(BASE.wire, SUBJECT, memory=memory, sequence=3).ok


def test_a_replay_is_remembered_as_long_as_the_message_lives() -> None:
    memory, last_ms = ReplayMemory(), NOW + 605_000
    assert check(BASE.wire, SUBJECT, memory=memory, sequence=1, now_ms=NOW - 5_000).ok
    assert memory.admit("other", 2, last_ms, last_ms)
    assert check(BASE.wire, SUBJECT, memory=memory, sequence=3, now_ms=last_ms).reason is Reason.REPLAYED
    assert check(BASE.wire, SUBJECT, memory=memory, sequence=3, now_ms=last_ms + 1).reason is Reason.EXPIRED
