"""The trust store: believed only with its roots' signatures, never older than seen, no bad key, each key in its time."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.envelope.amounts import MAX_INT, timestamp
from interlock.envelope.canonical import canonical
from interlock.envelope.keys import KeyFormatError, SigningKey, base64url, decode_public, encode_public
from interlock.envelope.signing import ENVELOPE_DOMAIN, TRUST_DOMAIN, pre_auth
from interlock.envelope.trust import (
    MAX_BYTES,
    AgentRecord,
    KeyRecord,
    RootSignature,
    SignedTrustStore,
    TrustError,
    TrustStore,
    load,
    sign_store,
)
from interlock.envelope.verdict import Reason
from tests.envelope.samples import NOW

ONE, TWO, STRANGER = (SigningKey(bytes([n]) * 32, "O") for n in (1, 2, 3))
ROOTS = [ONE.key_id, TWO.key_id]
KEY = SigningKey(b"a" * 32)
WINDOW = {"not_before": timestamp(NOW), "not_after": timestamp(NOW + 1000)}
SMALL_ORDER = encode_public(bytes(32))


def record(agent: str = "executor", *keys: str, **more: Any) -> AgentRecord:
    held = [KeyRecord(key_id=key, **WINDOW | more) for key in keys or [KEY.key_id]]
    return AgentRecord(agent=agent, keys=held)


def store(*agents: AgentRecord, version: int = 1) -> TrustStore:
    records = list(agents) or [record()]
    return TrustStore(workspace="default", version=version, issued_at=timestamp(NOW), agents=records)


def signed_without_looking(unchecked: TrustStore, *roots: SigningKey, domain: bytes = TRUST_DOMAIN) -> bytes:
    """As sign_store does, but without its refusal of bad keys: what a careless tool would write."""
    message = pre_auth(domain, canonical(unchecked))
    signatures = [RootSignature(key_id=root.key_id, signature=base64url(root.sign(message))) for root in roots]
    return canonical(SignedTrustStore(store=unchecked, signatures=signatures))


def refusal(data: bytes, roots: list[str] = ROOTS, **settings: int) -> str:
    with pytest.raises(TrustError) as caught:
        load(data, roots, **settings)
    return caught.value.reason


def test_what_the_roots_signed_is_believed() -> None:
    trust = load(sign_store(store(version=5), [ONE, TWO]), ROOTS, threshold=2, oldest_version=5)
    assert (trust.version, trust.workspace) == (5, "default")
    assert trust.find(KEY.key_id) is not None
    assert trust.find(ONE.key_id) is None, "a root signs stores, not envelopes"


@pytest.mark.parametrize(
    ("roots", "settings", "reason"),
    [
        ([STRANGER.key_id], {}, "untrusted_root"),
        ([], {}, "untrusted_root"),
        (ROOTS, {"threshold": 3}, "untrusted_root"),
        (ROOTS, {"threshold": 0}, "untrusted_root"),
        (ROOTS, {"threshold": -1}, "untrusted_root"),
        ([ONE.key_id, STRANGER.key_id], {"threshold": 2}, "untrusted_root"),
        (ROOTS, {"oldest_version": 6}, "rolled_back"),
    ],
)
def test_roots_threshold_and_version(roots: list[str], settings: dict[str, int], reason: str) -> None:
    assert refusal(sign_store(store(version=5), [ONE, TWO]), roots, **settings) == reason


def test_one_root_does_not_count_twice() -> None:
    assert refusal(sign_store(store(), [ONE, ONE]), threshold=2) == "untrusted_root"


def test_a_root_signature_for_something_else_does_not_count() -> None:
    assert refusal(signed_without_looking(store(), ONE, domain=ENVELOPE_DOMAIN)) == "untrusted_root"
    other = msgspec.json.decode(sign_store(store(version=2), [ONE]), type=SignedTrustStore)
    moved = SignedTrustStore(store=store(version=3), signatures=other.signatures)
    assert refusal(canonical(moved)) == "untrusted_root"


def test_any_changed_byte_is_refused() -> None:
    data = sign_store(store(record(revoked_at=timestamp(NOW + 5), revoked_why="lost 😀")), [ONE])
    for position in range(len(data)):
        for other in {data[position] ^ 1, ord("0"), ord('"')} - {data[position]}:
            changed = data[:position] + bytes([other]) + data[position + 1 :]
            assert refusal(changed) in ("malformed", "not_canonical", "untrusted_root"), position


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_malformed(data: bytes) -> None:
    assert refusal(data) == "malformed"


GOOD = sign_store(store(), [ONE])


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 200_000,
        b'{"a":' * 50_000,
        b" " * (MAX_BYTES + 1),
        GOOD.replace(b'"version":1', b'"version":0'),
        GOOD.replace(b'"version":1', b'"version":%d' % (MAX_INT + 1)),
        GOOD.replace(b'"version":1', b'"version":' + b"9" * 5000),
        GOOD.replace(b'"version":1', b'"version":1.5'),
        GOOD.replace(b'"executor"', b'"executor.*"'),
        GOOD.replace(b'"executor"', b'"executor\\u0000"'),
        GOOD.replace(b'"revokedWhy":""', b'"revokedWhy":"\\ud800"'),
        GOOD.replace(b'{"signatures"', b'{"more":1,"signatures"'),
        GOOD[:-1],
        GOOD + GOOD,
    ],
    ids=range(13),
)
def test_hostile_stores_are_malformed(data: bytes) -> None:
    assert data != GOOD
    assert refusal(data) == "malformed"


@pytest.mark.parametrize(
    "data",
    [GOOD + b"\n", b" " + GOOD, GOOD.replace(b":1", b": 1"), GOOD.replace(b'"version":1', b'"version":1,"version":1')],
)
def test_another_spelling_of_the_same_is_refused(data: bytes) -> None:
    assert refusal(data) == "not_canonical"


def test_a_version_beyond_json_is_refused_whatever_else_is_written() -> None:
    """Such a number met the strict encoder, whose error escaped, as soon as a text held characters of two planes."""
    for why in ("", "\uff01\U0001f600"):
        data = signed_without_looking(store(record(revoked_why=why)), ONE)
        assert refusal(data.replace(b'"version":1', b'"version":%d' % 2**60)) == "malformed"


@pytest.mark.parametrize(
    "agents",
    [
        [record("executor"), record("evaluator")],
        [record("executor", KEY.key_id, KEY.key_id)],
        [record("executor"), record("evaluator", encode_public(decode_public(KEY.key_id), "A"))],
        [record("executor", SMALL_ORDER)],
        [record("executor", "U" + "A" * 55)],
        [record(not_before="2025-02-30T00:00:00.000Z")],
        [record(revoked_at="2025-02-30T00:00:00.000Z")],
    ],
    ids=["two agents", "same agent", "two spellings", "small order", "checksum", "no such day", "no such revocation"],
)
def test_bad_keys_are_refused_even_when_the_root_signed_them(agents: list[AgentRecord]) -> None:
    assert refusal(signed_without_looking(store(*agents), ONE)) == "bad_key"


@pytest.mark.parametrize("key_id", [SMALL_ORDER, "U" + "A" * 55, "nonsense"])
def test_bad_keys_are_not_even_signed(key_id: str) -> None:
    with pytest.raises(KeyFormatError):
        sign_store(store(record("executor", key_id)), [ONE])


@pytest.mark.parametrize(
    ("more", "sender", "created", "seen", "reason"),
    [
        ({}, "executor", NOW, NOW, Reason.OK),
        ({}, "executor.2", NOW, NOW, Reason.OK),
        ({}, "executor", NOW + 999, NOW + 999, Reason.OK),
        ({}, "evaluator", NOW, NOW, Reason.KEY_NOT_FOR_AGENT),
        ({}, "executors", NOW, NOW, Reason.KEY_NOT_FOR_AGENT),
        ({}, "evaluator.executor", NOW, NOW, Reason.KEY_NOT_FOR_AGENT),
        ({}, "", NOW, NOW, Reason.KEY_NOT_FOR_AGENT),
        ({}, "executor", NOW - 1, NOW, Reason.KEY_NOT_YET_VALID),
        ({}, "executor", NOW + 1000, NOW + 1000, Reason.KEY_EXPIRED),
        ({}, "executor", NOW + 1, NOW + 1000, Reason.KEY_EXPIRED),
        ({}, "executor", NOW + 1000, NOW, Reason.KEY_EXPIRED),
        ({"revoked_at": timestamp(NOW + 5)}, "executor", NOW, NOW + 4, Reason.OK),
        ({"revoked_at": timestamp(NOW + 5)}, "executor", NOW, NOW + 5, Reason.KEY_REVOKED),
        ({"revoked_at": timestamp(NOW + 5)}, "executor", NOW + 9, NOW + 9, Reason.KEY_REVOKED),
        ({"revoked_at": timestamp(NOW + 5)}, "executor", NOW - 99, NOW + 5, Reason.KEY_REVOKED),
    ],
)
def test_keys_are_judged(more: dict[str, Any], sender: str, created: int, seen: int, reason: Reason) -> None:
    trust = load(sign_store(store(record(**more)), [ONE]), ROOTS)
    assert trust.judge_key(KEY.key_id, sender, created, seen) is reason
    assert trust.judge_key(STRANGER.key_id, sender, created, seen) is Reason.UNKNOWN_KEY


def test_a_record_of_an_instance_speaks_for_that_instance_alone() -> None:
    trust = load(sign_store(store(record("executor.2")), [ONE]), ROOTS)
    judged = [trust.judge_key(KEY.key_id, sender, NOW, NOW) for sender in ("executor.2", "executor", "executor.3")]
    assert judged == [Reason.OK, Reason.KEY_NOT_FOR_AGENT, Reason.KEY_NOT_FOR_AGENT]
