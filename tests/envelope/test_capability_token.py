"""Capability tokens: every way to use one wrongly has a code; a grant can only narrow what it hangs on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from interlock.envelope.amounts import timestamp
from interlock.envelope.capability_token import (
    MAX_GRANTS,
    MAX_LIFE_MS,
    PREDICATE,
    GrantRefused,
    Proven,
    Use,
    check_token,
    first_grant,
    narrowed,
    read_grant,
)
from interlock.envelope.ids import new_id
from interlock.envelope.keys import SigningKey
from interlock.envelope.model import Attestation
from interlock.envelope.signing import attest
from interlock.envelope.trust import AgentRecord, KeyRecord, Trust, TrustStore, load, sign_store
from tests.envelope.contracts import fixed_key

NOW = 1_763_700_000_000
HOUR = 3_600_000
GOAL, ENVELOPE, OTHER = (new_id(NOW, name) for name in (b"goal-goal-", b"envelope-1", b"envelope-2"))
ROOT = fixed_key("root", "O")
KEYS = {name: fixed_key(name) for name in ("gateway", "orchestrator", "executor", "helper")}


def trust_of(**more: Any) -> Trust:
    window = {"not_before": timestamp(NOW - HOUR), "not_after": timestamp(NOW + 10 * HOUR)}
    records = [
        AgentRecord(agent=name, keys=[KeyRecord(key_id=key.key_id, **window | more.get(name, {}))])
        for name, key in KEYS.items()
    ]
    store = TrustStore(workspace="default", version=1, issued_at=timestamp(NOW), agents=records)
    return load(sign_store(store, [ROOT]), [ROOT.key_id])


TRUST = trust_of()


def goal_grant(**more: Any) -> Attestation:
    fields: dict[str, Any] = {"given_by": "gateway", "key": KEYS["gateway"], "now_ms": NOW, "life_ms": HOUR}
    fields |= more
    return first_grant(fields.pop("holder", "orchestrator"), GOAL, fields.pop("capabilities", ["skill:*"]), **fields)


def task_grant(above: Attestation, **more: Any) -> Attestation:
    fields: dict[str, Any] = {
        "given_by": "orchestrator",
        "holder": "executor",
        "capabilities": ["skill:mapping"],
        "resources": ["skill:mapping", "artefact:aa"],
        "envelope": ENVELOPE,
        "key": KEYS["orchestrator"],
        "now_ms": NOW + 1,
        "until_ms": NOW + HOUR,
    }
    return narrowed(above, **fields | more)


def forged(link: Attestation, key: SigningKey = KEYS["orchestrator"], **more: Any) -> Attestation:
    """The grant changed and signed again by whoever holds it."""
    predicate: Any = link.statement["predicate"]
    return attest(link.statement | {"predicate": predicate | more}, key)


FIRST = goal_grant()
TOKEN = [FIRST, task_grant(FIRST)]
USE = Use(
    agent="executor.2",
    capability="skill:mapping",
    resources=["skill:mapping"],
    goal_id=GOAL,
    envelope=ENVELOPE,
    now_ms=NOW + 60_000,
)


def code(token: list[Attestation], trust: Trust = TRUST, **more: Any) -> str:
    verdict = check_token(token, replace(USE, **more), trust)
    return "" if verdict.allowed else verdict.grounds[0].code


def test_a_token_allows_what_it_was_made_for_and_may_travel_among_others() -> None:
    assert code(TOKEN) == ""
    other = attest({"predicateType": "https://slsa.dev/provenance/v1"}, KEYS["executor"])
    assert code([other, TOKEN[0], other, TOKEN[1]]) == ""


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"agent": "helper"}, "token_elsewhere"),
        ({"agent": "orchestrator"}, "token_elsewhere"),
        ({"envelope": OTHER}, "token_elsewhere"),
        ({"goal_id": OTHER}, "token_elsewhere"),
        ({"capability": "skill:other"}, "token_elsewhere"),
        ({"capability": "skill:*"}, "token_elsewhere"),
        ({"resources": ["skill:mapping", "artefact:bb"]}, "token_elsewhere"),
        ({"now_ms": NOW + HOUR + 5_000}, "token_expired"),
        ({"now_ms": NOW - 5_000}, "token_expired"),
        ({"now_ms": NOW + HOUR + 4_999}, ""),
    ],
)
def test_uses_it_was_not_made_for(more: dict[str, Any], expected: str) -> None:
    assert code(TOKEN, **more) == expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"capabilities": ["*"]}, "token_widened"),
        ({"capabilities": ["skill:*", "net:*"]}, "token_widened"),
        ({"goalId": OTHER}, "token_widened"),
        ({"until": timestamp(NOW + HOUR + 1)}, "token_widened"),
        ({"until": timestamp(NOW)}, "token_expired"),
        ({"parent": "a" * 64}, "token_broken"),
        ({"parent": None}, "token_broken"),
        ({"givenBy": "gateway"}, "token_untrusted"),
        ({"givenBy": "executor"}, "token_untrusted"),
        ({"holder": "helper"}, "token_elsewhere"),
        ({"holder": "Bad Name"}, "token_malformed"),
        ({"until": "2026-02-30T00:00:00.000Z"}, "token_malformed"),
        ({"unknown": 1}, "token_malformed"),
    ],
)
def test_a_holder_that_signs_more_than_it_holds(more: dict[str, Any], expected: str) -> None:
    assert code([FIRST, forged(TOKEN[1], **more)]) == expected


def test_what_was_proven_once_is_not_believed_when_it_changes() -> None:
    proven = Proven(capacity=1)
    for _ in range(2):
        assert check_token(TOKEN, USE, TRUST, proven).allowed
    changed = replace(TOKEN[1], signature=FIRST.signature)
    assert check_token([FIRST, changed], USE, TRUST, proven).grounds[0].code == "token_forged"
    assert (
        check_token(TOKEN, USE, trust_of(gateway={"revoked_at": timestamp(NOW)}), proven).grounds[0].code
        == "token_untrusted"
    )


def test_resources_can_only_narrow_too() -> None:
    above = task_grant(FIRST, holder="orchestrator", envelope=None)
    below = task_grant(above, resources=["artefact:aa"])
    assert code([FIRST, above, below], resources=["artefact:aa"]) == ""
    assert code([FIRST, above, forged(below, resources=["artefact:*"])]) == "token_widened"
    bound = task_grant(FIRST, holder="orchestrator")
    assert code([FIRST, bound, forged(task_grant(bound), envelope=OTHER)], envelope=OTHER) == "token_widened"


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ([], "token_missing"),
        ([attest({"predicateType": "x"}, KEYS["gateway"])], "token_missing"),
        ([TOKEN[1]], "token_untrusted"),
        ([TOKEN[1], TOKEN[0]], "token_untrusted"),
        ([FIRST], "token_elsewhere"),
        ([FIRST, FIRST], "token_broken"),
        ([goal_grant(given_by="orchestrator", key=KEYS["orchestrator"])], "token_untrusted"),
        ([goal_grant(key=fixed_key("stranger"))], "token_untrusted"),
        ([goal_grant(key=KEYS["executor"])], "token_untrusted"),
        ([replace(FIRST, signature=TOKEN[1].signature), TOKEN[1]], "token_forged"),
        ([attest({"predicateType": PREDICATE}, KEYS["gateway"])], "token_malformed"),
        ([attest({"predicateType": PREDICATE, "predicate": [1]}, KEYS["gateway"])], "token_malformed"),
        ([FIRST] * (MAX_GRANTS + 1), "token_malformed"),
        ([forged(FIRST, KEYS["gateway"], until=timestamp(NOW + MAX_LIFE_MS + 1))], "token_expired"),
    ],
    ids=range(14),
)
def test_chains_that_are_none(token: list[Attestation], expected: str) -> None:
    assert code(token) == expected


def test_revocation_stops_a_token_and_rotation_does_not() -> None:
    at = NOW + 1_000
    assert code(TOKEN, trust_of(gateway={"revoked_at": timestamp(at)})) == "token_untrusted"
    assert code(TOKEN, trust_of(orchestrator={"revoked_at": timestamp(at)})) == "token_untrusted"
    assert code(TOKEN, trust_of(gateway={"not_after": timestamp(at)})) == "", "its key ended after it was signed"
    assert code(TOKEN, trust_of(gateway={"not_after": timestamp(NOW)})) == "token_untrusted"


def test_what_cannot_be_granted() -> None:
    for life_ms in (0, -1, MAX_LIFE_MS + 1):
        with pytest.raises(GrantRefused):
            goal_grant(life_ms=life_ms)
    for more in ({"capabilities": ["*"]}, {"capabilities": ["net:x"]}):
        with pytest.raises(GrantRefused, match="beyond"):
            task_grant(FIRST, **more)
    with pytest.raises(GrantRefused, match="no grant"):
        task_grant(attest({"predicateType": "x"}, KEYS["gateway"]))
    shorter = read_grant(task_grant(FIRST, until_ms=NOW + 10 * HOUR))
    assert shorter is not None
    assert shorter.until == timestamp(NOW + HOUR), "no later than what it hangs on"


PATTERNS = st.lists(st.sampled_from(["*", "skill:*", "skill:a", "skill:a*", "skill:ab", "net:*", "net:x"]), max_size=4)


@given(PATTERNS, PATTERNS, PATTERNS, st.sampled_from(["skill:a", "skill:ab", "net:x", "other"]))
def test_no_chain_allows_what_its_first_grant_does_not(
    first: list[str], second: list[str], third: list[str], wanted: str
) -> None:
    """Whatever holders sign: forged wider, narrowed, in any mixture."""
    top = goal_grant(capabilities=first)
    middle = forged(
        task_grant(goal_grant(capabilities=["*"]), capabilities=["*"], holder="orchestrator"), capabilities=second
    )
    middle = forged(middle, parent=digest(top))
    last = forged(task_grant(FIRST), capabilities=third, parent=digest(middle))
    allowed = code([top, middle, last], capability=wanted) == ""
    if allowed:
        assert all(
            any(held == wanted or (held.endswith("*") and wanted.startswith(held[:-1])) for held in one)
            for one in (first, second, third)
        )


def digest(link: Attestation) -> str:
    from interlock.envelope.canonical import canonical
    from interlock.envelope.ids import sha256_hex

    return sha256_hex(canonical(link))


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"held": ["skill:*"], "deadline_ms": NOW + HOUR}, ""),
        ({"held": ["skill:*", "net:*"]}, "token_widened"),
        ({"held": ["*"]}, "token_widened"),
        ({"deadline_ms": NOW + 3 * HOUR}, "token_widened"),
    ],
)
def test_an_envelope_that_claims_more_than_the_gateway_gave_its_goal(more: dict[str, Any], code: str) -> None:
    verdict = check_token(TOKEN, replace(USE, **more), TRUST)
    assert ("" if verdict.allowed else verdict.grounds[0].code) == code
