"""Ids, amounts, keys, trust, children: tables and properties."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.envelope.amounts import ZERO, Amount, micro_usd, time_ms, timestamp, usd_text
from interlock.envelope.canonical import MAX_DEPTH, check_plain
from interlock.envelope.children import ChildRefused, Draft, derive, origin_of
from interlock.envelope.ids import derived_id, id_time_ms, is_agent_id, is_token, is_uuid7, new_id
from interlock.envelope.keys import (
    KeyFormatError,
    SigningKey,
    check_enrolment,
    decode_public,
    encode_public,
    from_base64url,
    is_signed_by,
)
from interlock.envelope.payloads import Escalation
from interlock.envelope.signing import Sealed
from interlock.envelope.subjects import role_subject
from interlock.envelope.trust import AgentRecord, KeyRecord, TrustError, TrustStore, load, sign_store
from interlock.envelope.verdict import Reason

NOW = 1_763_700_000_000

BAD_TOKENS = ["", "A", "a.b", "*", ">", "a*", " a", "a ", "a\n", "-a", "a" * 64, "а", "a\u202eb", "a\x00", "ａ", "é"]


@pytest.mark.parametrize("text", BAD_TOKENS, ids=ascii)
def test_nothing_strange_reaches_a_subject(text: str) -> None:
    assert not is_token(text)
    assert not is_agent_id(f"executor.{text}")
    with pytest.raises(ValueError, match="subject token"):
        role_subject("default", text, new_id(NOW), "act")
    with pytest.raises(ValueError, match="subject token"):
        role_subject(text, "executor", new_id(NOW), "act")


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10), st.text(max_size=20))
def test_ids_are_uuid7_and_derived_ones_repeat(time: int, random: bytes, step: str) -> None:
    parent = new_id(time, random)
    child = derived_id(parent, "executor", step)
    assert is_uuid7(parent)
    assert is_uuid7(child)
    assert child == derived_id(parent, "executor", step)
    assert child != derived_id(parent, "executor", step + "x")
    assert child != derived_id(parent, "evaluator", step)
    assert id_time_ms(child) == id_time_ms(parent) == time


@given(st.integers(0, 10**15))
def test_money_has_one_text(micro: int) -> None:
    assert micro_usd(usd_text(micro)) == micro


@pytest.mark.parametrize("text", ["", "1.", ".5", "-1", "1e3", "0.0000001", "01", "1,5", "٣", "1\n", "9" * 11])
def test_what_is_no_money(text: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        micro_usd(text)


@given(st.integers(0, 4_000_000_000_000))
def test_times_are_exact_to_the_millisecond(ms: int) -> None:
    assert time_ms(timestamp(ms)) == ms


@pytest.mark.parametrize("value", [1.5, {"a": [0.1]}, {1: "x"}, 2**53 + 1, {"a": "\ud800"}, {"\ud800": 1}, b"x", (1,)])
def test_what_may_not_travel(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^\$"):
        check_plain(value)


def test_nesting_is_bounded() -> None:
    value: Any = 1
    for _ in range(MAX_DEPTH):
        value = [value]
    check_plain(value)
    with pytest.raises(ValueError, match="nested deeper"):
        check_plain([value])


# RFC 8032, section 7.1: seed, public key, message, signature.
RFC8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC8032)
def test_rfc8032_vectors(seed: str, public: str, message: str, signature: str) -> None:
    key = SigningKey(bytes.fromhex(seed))
    assert decode_public(key.key_id).hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    assert is_signed_by(key.key_id, bytes.fromhex(message), bytes.fromhex(signature))
    assert not is_signed_by(key.key_id, bytes.fromhex(message) + b"x", bytes.fromhex(signature))


# Written by nats-io's own `nkeys` for Python 0.2.1: seed text and public key.
NKEYS = [
    (
        "SUAOFAJAKE2CEAIAT4DUVMUADX3PDLR45VCBOXVXQEDENS6LFOCF4BMWNQ",
        "UBXABQ2PIAJYRHGYBLX7FAWLGTHWT5SGZTE4D2SFYDXMU75NIKANCMDH",
    ),
    (
        "SUADLMOL2YKYDDCLNSZMVI6OORI63GVBGHHVLESUP6ZWKI7EF34VDSWLUE",
        "UADHP5MUNIN3HVCEPJKP4IW2SCTI6T2ZAEV5FX2JS2GT52VVOZEJAS3W",
    ),
    (
        "SUAKPIAV3OLMVA4CLAUV6OIMMH3OO4PXP3JMR4FIHFFCB3CCGXNNOYVOU4",
        "UD2ZL4NW5RDNYWM4DOVS63CU7FJXJOG2GDMMOT5DGG2ZD6AKZG6I34AF",
    ),
]


@pytest.mark.parametrize(("seed", "public"), NKEYS)
def test_keys_read_and_write_what_nkeys_does(seed: str, public: str) -> None:
    key = SigningKey.from_seed_text(seed)
    assert (key.key_id, key.seed_text()) == (public, seed)


def test_nkey_text_survives_the_round_trip_and_typing_errors_are_found() -> None:
    for kind in "UAO":
        key = SigningKey.generate(kind)
        text = key.seed_text()
        assert SigningKey.from_seed_text(text).key_id == key.key_id
        assert key.seed_text() not in repr(key)
        for position in range(len(text)):
            other = "A" if text[position] != "A" else "B"
            with pytest.raises(KeyFormatError):
                SigningKey.from_seed_text(text[:position] + other + text[position + 1 :])
    with pytest.raises(KeyFormatError):
        decode_public(SigningKey.generate().key_id[:-1] + "1")


# The points of small order and their non-canonical encodings (Chalkias et al., "Taming the many EdDSAs", 2020).
SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
]


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_weak_keys_are_never_enrolled(point: str) -> None:
    with pytest.raises(KeyFormatError, match="small order"):
        check_enrolment(encode_public(bytes.fromhex(point)))


@pytest.mark.parametrize("text", ["AA==", "AB", "A", "****", "AA\n", "é"])
def test_base64url_has_one_spelling(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        from_base64url(text)


def store(version: int = 1, **more: Any) -> TrustStore:
    key = SigningKey(b"a" * 32)
    record = {"key_id": key.key_id, "not_before": timestamp(NOW), "not_after": timestamp(NOW + 1000)} | more
    agents = [AgentRecord(agent="executor", keys=[KeyRecord(**record)])]
    return TrustStore(workspace="default", version=version, issued_at=timestamp(NOW), agents=agents)


def test_a_trust_store_needs_its_roots_and_never_goes_back() -> None:
    one, two, stranger = (SigningKey(bytes([n]) * 32, "O") for n in (1, 2, 3))
    data = sign_store(store(version=5), [one, two])
    roots = [one.key_id, two.key_id]
    assert load(data, roots, threshold=2, oldest_version=5).version == 5
    for arguments, reason in (
        ({"roots": [stranger.key_id]}, "untrusted_root"),
        ({"roots": roots, "threshold": 3}, "untrusted_root"),
        ({"roots": roots, "threshold": 0}, "untrusted_root"),
        ({"roots": roots, "oldest_version": 6}, "rolled_back"),
    ):
        with pytest.raises(TrustError) as caught:
            load(data, **arguments)  # type: ignore[arg-type]
        assert caught.value.reason == reason
    same_twice = sign_store(store(), [one, one])
    with pytest.raises(TrustError, match="1 of the 2"):
        load(same_twice, roots, threshold=2)


def test_any_changed_byte_of_a_trust_store_is_refused() -> None:
    root = SigningKey(b"r" * 32, "O")
    data = sign_store(store(), [root])
    for position in range(len(data)):
        changed = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        with pytest.raises(TrustError):
            load(changed, [root.key_id])


@pytest.mark.parametrize(
    ("more", "sender", "created", "seen", "reason"),
    [
        ({}, "executor", NOW, NOW, Reason.OK),
        ({}, "executor.2", NOW, NOW, Reason.OK),
        ({}, "evaluator", NOW, NOW, Reason.KEY_NOT_FOR_AGENT),
        ({}, "executors", NOW, NOW, Reason.KEY_NOT_FOR_AGENT),
        ({}, "executor", NOW - 1, NOW, Reason.KEY_NOT_YET_VALID),
        ({}, "executor", NOW + 1000, NOW + 1000, Reason.KEY_EXPIRED),
        ({}, "executor", NOW + 1, NOW + 1000, Reason.KEY_EXPIRED),
        ({"revoked_at": timestamp(NOW + 5)}, "executor", NOW, NOW + 4, Reason.OK),
        ({"revoked_at": timestamp(NOW + 5)}, "executor", NOW, NOW + 5, Reason.KEY_REVOKED),
    ],
)
def test_keys_are_judged(more: dict[str, Any], sender: str, created: int, seen: int, reason: Reason) -> None:
    root = SigningKey(b"r" * 32, "O")
    trust = load(sign_store(store(**more), [root]), [root.key_id])
    key_id = SigningKey(b"a" * 32).key_id
    assert trust.judge_key(key_id, sender, created, seen) is reason
    assert trust.judge_key("U" + "A" * 55, sender, created, seen) is Reason.UNKNOWN_KEY


AMOUNTS = st.builds(Amount, *[st.integers(0, 50)] * 4)


@given(st.lists(AMOUNTS, max_size=8), AMOUNTS)
def test_children_never_hold_more_than_their_parent(wanted: list[Amount], limit: Amount) -> None:
    from msgspec.structs import replace

    origin = replace(_origin(), budget=limit)
    granted = ZERO
    for number, amount in enumerate(wanted):
        draft = Draft(
            to="orchestrator",
            intent="escalate",
            payload=Escalation(code="c", question="q"),
            step=str(number),
            budget=amount,
        )
        try:
            child = derive(origin, draft, sender="executor", key_id="U" + "A" * 55, now_ms=NOW, granted=granted)
        except ChildRefused as refusal:
            assert refusal.reason == "over_budget"
            assert not (granted + amount).within(limit)
            continue
        assert child.budget.amount == amount
        granted = granted + amount
        assert granted.within(limit)


@given(st.integers(-10, 700_000), st.none() | st.integers(1, 10**7))
def test_no_child_outlives_its_parent(later: int, ttl: int | None) -> None:
    origin = _origin()
    draft = Draft(
        to="orchestrator", intent="escalate", payload=Escalation(code="c", question="q"), step="s", ttl_ms=ttl
    )
    try:
        child = derive(origin, draft, sender="executor", key_id="U" + "A" * 55, now_ms=NOW + later)
    except ChildRefused as refusal:
        assert refusal.reason == "expired"
        assert NOW + later >= origin.deadline_ms
        return
    assert time_ms(child.created_at) + child.ttl_ms <= origin.deadline_ms
    assert (child.parent_id, child.parent_digest, child.goal_id) == (origin.id, origin.digest, origin.goal_id)


_SEALED: list[Sealed] = []


@pytest.fixture(autouse=True)
def _remember(envelopes: dict[str, Sealed]) -> None:
    _SEALED[:] = [envelopes["intake"]]


def _origin() -> Any:
    return origin_of(_SEALED[0].envelope, _SEALED[0].digest)
