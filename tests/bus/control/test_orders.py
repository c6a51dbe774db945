"""Who may halt and resume what, and that no other bytes do either."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.bus.control.orders import (
    MAX_BYTES,
    SKEW_MS,
    check_order,
    may_give,
    nobody_in,
    read_order,
    scope_key,
    scope_problem,
    sign_order,
)
from interlock.envelope.amounts import timestamp
from interlock.envelope.canonical import canonical
from interlock.envelope.keys import SigningKey
from interlock.envelope.trust import AgentRecord, KeyRecord, Trust, TrustStore
from interlock.envelope.verdict import Reason

NOW = 1_763_700_000_000
GOAL = "019aa000-0000-7000-8000-000000000001"
AGENTS = ("human", "human.ada", "auditor", "orchestrator", "executor", "evaluator", "guard")
KEYS = {agent: SigningKey.generate() for agent in AGENTS}
GONE = SigningKey.generate()
SCOPES = ["everything", "workspace", "role:executor", "agent:executor.2", f"goal:{GOAL}", "skill:x", "target:/srv/a b"]


def record(agent: str, *keys: SigningKey, **more: Any) -> AgentRecord:
    window = {"not_before": timestamp(NOW - 60_000), "not_after": timestamp(NOW + 10**9)}
    held = ["halt:skill:*"] if agent == "guard" else []
    return AgentRecord(
        agent=agent, keys=[KeyRecord(key_id=key.key_id, **window, **more) for key in keys], capabilities=held
    )


TRUST = Trust(
    TrustStore(
        workspace="w",
        version=1,
        issued_at=timestamp(NOW),
        agents=[
            *(record(agent, key) for agent, key in KEYS.items()),
            record("human.gone", GONE, revoked_at=timestamp(NOW)),
        ],
    )
)


def order(**change: Any) -> bytes:
    by = change.get("by", "human")
    key = change.pop("key", None) or KEYS[by]
    given_as = {"workspace": "w", "scope": "workspace", "verb": "halt", "why": "test", "by": by, "at_ms": NOW}
    return sign_order(key, **(given_as | change))


def checked(data: bytes, seen_ms: int = NOW) -> Reason:
    found = read_order(data)
    return Reason.MALFORMED if found is None else check_order(found, TRUST, seen_ms).reason


@pytest.mark.parametrize("scope", SCOPES)
def test_a_human_halts_and_resumes_every_scope(scope: str) -> None:
    assert checked(order(scope=scope)) is Reason.OK
    assert checked(order(scope=scope, verb="resume", by="human.ada")) is Reason.OK


REFUSED = [
    ({"key": SigningKey.generate()}, Reason.UNKNOWN_KEY),
    ({"by": "auditor", "key": KEYS["human"]}, Reason.KEY_NOT_FOR_AGENT),
    ({"by": "human.gone", "key": GONE}, Reason.KEY_REVOKED),
    ({"at_ms": NOW - 10**10}, Reason.KEY_NOT_YET_VALID),
    ({"workspace": "other"}, Reason.WRONG_WORKSPACE),
    ({"at_ms": NOW + SKEW_MS + 1}, Reason.FROM_FUTURE),
    ({"after": NOW + SKEW_MS}, Reason.FROM_FUTURE),
    ({"by": "executor"}, Reason.POLICY_DENIED),
    ({"by": "evaluator", "scope": "agent:evaluator"}, Reason.POLICY_DENIED),
    ({"by": "auditor", "verb": "resume"}, Reason.POLICY_DENIED),
    ({"by": "orchestrator", "verb": "resume"}, Reason.POLICY_DENIED),
    ({"by": "guard", "scope": "workspace"}, Reason.POLICY_DENIED),
    ({"by": "guard", "scope": "skill:x", "verb": "resume"}, Reason.POLICY_DENIED),
    ({"by": "guard", "scope": "skill:x"}, Reason.OK),
    ({"by": "auditor"}, Reason.OK),
    ({"by": "orchestrator", "scope": "everything"}, Reason.OK),
    ({"workspace": "other", "scope": "everything"}, Reason.OK),
]


@pytest.mark.parametrize(("change", "reason"), REFUSED)
def test_who_may_give_which_order(change: dict[str, Any], reason: Reason) -> None:
    assert checked(order(**change)) is reason


@pytest.mark.parametrize(
    "change",
    [{"why": "other"}, {"scope": "everything"}, {"verb": "resume"}, {"number": NOW + 7}, {"at": timestamp(NOW - 1)}],
)
def test_an_order_changed_after_signing_is_no_order(change: dict[str, Any]) -> None:
    found = read_order(order())
    assert found is not None
    assert checked(canonical(msgspec.structs.replace(found, **change))) is Reason.BAD_SIGNATURE
    assert checked(canonical(msgspec.structs.replace(found, signature=None))) is Reason.BAD_SIGNATURE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"\xff",
        b"[" * 10_000,
        order() + b" ",
        order().replace(b'"why":"test"', b'"why":"te\\u0073t"'),
        order().replace(b'"scope":"workspace"', b'"scope":"world"'),
        order().replace(b'"workspace":"w"', b'"workspace":"w.x"'),
        order().replace(b"}", b',"more":1}'),
        b'{"why":"' + b"x" * MAX_BYTES + b'"}',
    ],
)
def test_what_is_no_order(data: bytes) -> None:
    assert read_order(data) is None


@pytest.mark.parametrize(
    "scope",
    [
        "",
        "all",
        "role",
        "role:",
        "role:a.b",
        "role:*",
        "agent:>",
        "goal:1",
        "goal:*",
        "skill:A",
        "target:",
        "target:a\nb",
    ],
)
def test_what_is_no_scope(scope: str) -> None:
    assert scope_problem(scope)
    with pytest.raises(ValueError, match=r"scope|does not name"):
        order(scope=scope)


@pytest.mark.parametrize("scope", ["role:executr", "agent:executr", "agent:nobody.2"])
def test_a_halt_that_would_stop_nobody_is_told(scope: str) -> None:
    assert scope_problem(scope) == "", "what was once halted so can still be resumed"
    assert "there is no role" in nobody_in(scope)


@pytest.mark.parametrize("scope", [*SCOPES, "agent:gateway", "role:synthesizer", "skill:not-here-yet", "target:x"])
def test_a_halt_that_may_stop_somebody_is_not(scope: str) -> None:
    assert nobody_in(scope) == ""


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_scope_escapes_its_workspace_or_takes_anothers_place(one: str, other: str) -> None:
    scopes = [f"{kind}:{name}" for kind in ("role", "agent", "skill", "target") for name in {one, other}]
    good = [scope for scope in scopes if not scope_problem(scope)]
    keys = [scope_key("w", scope) for scope in good]
    assert len(set(keys)) == len(good)
    assert all(key.startswith("w.") and not set(key) & set(" *>\n") for key in keys)


def test_capabilities_are_patterns_of_scopes() -> None:
    assert may_give("halt", "skill:x", "executor", ("halt:*",))
    assert not may_give("halt", "skill:x", "executor", ("skill:*",))
    assert not may_give("resume", "skill:x", "executor", ("halt:*", "resume:*"))
