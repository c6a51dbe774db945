"""Orders to put a dead letter back: what is read, who may give them, and that no byte of one can be changed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from interlock.envelope.amounts import timestamp
from interlock.envelope.canonical import canonical
from interlock.envelope.keys import SigningKey, base64url
from interlock.envelope.redrive import (
    MAX_TEXT,
    SKEW_MS,
    RedriveOrder,
    check_redrive,
    order_text,
    read_redrive,
    sign_redrive,
)
from interlock.envelope.trust import AgentRecord, KeyRecord, Trust, TrustStore, load, sign_store

NOW = 1_800_000_000_000
ROOT = SigningKey.generate("O")
AGENTS = ("human", "human.ada", "executor", "synthesizer", "auditor")
KEYS = {agent: SigningKey.generate() for agent in AGENTS}
CAPABILITIES = {"synthesizer": ["dead:*"], "auditor": ["audit:*"]}
WINDOW = {"not_before": timestamp(NOW - 1_000_000), "not_after": timestamp(NOW + 1_000_000)}


def trust(**more: Any) -> Trust:
    records = [
        AgentRecord(
            agent=agent,
            keys=[KeyRecord(key_id=key.key_id, **(WINDOW | more))],
            capabilities=CAPABILITIES.get(agent, []),
        )
        for agent, key in KEYS.items()
    ]
    store = TrustStore(workspace="w", version=1, issued_at=timestamp(NOW), agents=records)
    return load(sign_store(store, [ROOT]), [ROOT.key_id])


def order(by: str = "human", key: SigningKey | None = None, **more: Any) -> RedriveOrder:
    what: dict[str, Any] = {"workspace": "w", "stream": "HOPS", "sequence": 7, "digest": "a" * 64, "number": 1}
    what |= {"why": "mended", "at_ms": NOW} | more
    return sign_redrive(key or KEYS[by], by=by, **what)


@pytest.mark.parametrize(
    ("by", "reason"),
    [
        ("human", "ok"),
        ("human.ada", "ok"),
        ("synthesizer", "ok"),
        ("executor", "policy_denied"),
        ("auditor", "policy_denied"),
    ],
)
def test_who_may(by: str, reason: str) -> None:
    assert check_redrive(order(by), trust(), NOW).reason == reason


def test_what_is_signed_is_read_back() -> None:
    signed = order(why="grüße\n")
    assert read_redrive(order_text(signed)) == signed
    assert order_text(signed).isascii()
    assert signed.message_id == f"redrive-{'a' * 64}-1"


@pytest.mark.parametrize(
    ("signed", "keys", "seen_ms", "reason"),
    [
        (order(key=SigningKey.generate()), {}, NOW, "unknown_key"),
        (order(key=KEYS["executor"]), {}, NOW, "key_not_for_agent"),
        (order(workspace="other"), {}, NOW, "wrong_workspace"),
        (order(at_ms=NOW + SKEW_MS), {}, NOW, "ok"),
        (order(at_ms=NOW + SKEW_MS + 1), {}, NOW, "from_future"),
        (order(), {"revoked_at": timestamp(NOW)}, NOW, "key_revoked"),
        (order(), {"revoked_at": timestamp(NOW + 1)}, NOW, "ok"),
        (order(at_ms=NOW - 1_000_001), {}, NOW, "key_not_yet_valid"),
        (order(), {}, NOW + 1_000_000, "key_expired"),
        (replace(order(), signature=None), {}, NOW, "bad_signature"),
        (replace(order(), number=2), {}, NOW, "bad_signature"),
        (replace(order(), sequence=8), {}, NOW, "bad_signature"),
        (replace(order(), digest="b" * 64), {}, NOW, "bad_signature"),
    ],
)
def test_what_is_refused(signed: RedriveOrder, keys: dict[str, Any], seen_ms: int, reason: str) -> None:
    assert check_redrive(signed, trust(**keys), seen_ms).reason == reason


@pytest.mark.parametrize(
    "text",
    [
        "",
        "=",
        "ü",
        base64url(b""),
        base64url(b"{}"),
        base64url(b"null"),
        base64url(b"[" * 3_000),
        base64url(canonical(order()) + b" "),
        base64url(canonical(order()).replace(b'"number":1', b'"number":0')),
        base64url(canonical(order()).replace(b'"number":1', b'"number":1001')),
        base64url(canonical(order()).replace(b'"number":1', b'"more":0,"number":1')),
        base64url(canonical(order()).replace(timestamp(NOW).encode(), b"2027-02-31T00:00:00.000Z")),
        "A" * (MAX_TEXT + 1),
    ],
)
def test_what_is_no_order(text: str) -> None:
    assert read_redrive(text) is None


SIGNED = canonical(order())
TRUST = trust()


@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
def test_no_byte_can_be_changed(at: int, flip: int) -> None:
    changed = SIGNED[:at] + bytes([SIGNED[at] ^ flip]) + SIGNED[at + 1 :]
    read = read_redrive(base64url(changed))
    assert read is None or not check_redrive(read, TRUST, NOW).ok


@given(st.text(max_size=200) | st.binary(max_size=200).map(base64url))
def test_whatever_the_text_nothing_is_raised(text: str) -> None:
    assert read_redrive(text) is None
