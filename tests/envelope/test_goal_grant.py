"""What the gateway gave a goal: every way to go beyond it is refused by whoever is sent it, and what stays within is not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from interlock.envelope.amounts import Amount, Budget, timestamp
from interlock.envelope.capability_token import Proven, first_grant
from interlock.envelope.goal_grant import check_goal_grant, goal_grant_of, needs_grant, without_grants
from interlock.envelope.ids import new_id
from interlock.envelope.model import Attestation, Envelope
from interlock.envelope.signing import attest
from interlock.envelope.verdict import Reason
from tests.envelope.samples import ENVELOPES, GOAL, KEYS, NOW, POLICY, make_trust

TRUST = make_trust()
LIFE_MS = 600_000
LIMITS = Budget(thinking_tokens=8000, cost_usd="1.5", wall_ms=60_000, actions=9)


def grant(**more: Any) -> Attestation:
    fields: dict[str, Any] = {
        "given_by": "gateway",
        "key": KEYS["gateway"],
        "now_ms": NOW,
        "life_ms": LIFE_MS,
        "budget": LIMITS,
        "contract_ref": POLICY.contract_ref,
    }
    fields |= more
    return first_grant("orchestrator", fields.pop("goal", GOAL), fields.pop("held", POLICY.capabilities), **fields)


GIVEN = grant()


def sent(*attestations: Attestation, **more: Any) -> Envelope:
    """A draft for the evaluator, five ms after the goal began and until its very end."""
    child = replace(ENVELOPES["plan_draft"].envelope, created_at=timestamp(NOW + 5), ttl_ms=LIFE_MS - 5)
    budget = more.get("budget", child.budget)
    return replace(child, attestations=list(attestations), thinking_budget=budget.thinking_tokens, **more)


def detail(envelope: Envelope, trust: Any = TRUST, now_ms: int = NOW + 10) -> str:
    checked = check_goal_grant(envelope, trust, now_ms, Proven())
    assert checked.reason in (Reason.OK, Reason.BAD_PARENT)
    assert bool(checked.detail) != checked.ok
    return checked.detail


def test_what_stays_within_is_let_through() -> None:
    assert detail(sent(GIVEN)) == ""
    assert detail(sent(attest({"predicateType": "other"}, KEYS["executor"]), GIVEN, budget=LIMITS)) == ""


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"ttl_ms": LIFE_MS - 4}, "the goal ends at"),
        ({"budget": replace(LIMITS, cost_usd="1.500001")}, "more budget"),
        ({"budget": replace(LIMITS, thinking_tokens=8001)}, "more budget"),
        ({"budget": replace(LIMITS, wall_ms=60_001)}, "more budget"),
        ({"budget": replace(LIMITS, actions=10)}, "more budget"),
        ({"policy_context": replace(POLICY, capabilities=["skill:*", "net:x"])}, "never given net:x"),
        ({"policy_context": replace(POLICY, capabilities=["*"])}, "never given *"),
        ({"policy_context": replace(POLICY, contract_ref="a" * 64)}, "began under contract none"),
    ],
)
def test_what_goes_beyond_by_one_is_refused(more: dict[str, Any], told: str) -> None:
    assert told in detail(sent(GIVEN, **more))


@pytest.mark.parametrize(
    ("links", "told"),
    [
        ([], "carries no grant"),
        ([attest({"predicateType": "x"}, KEYS["gateway"])], "carries no grant"),
        ([grant(goal=new_id(NOW, b"other-goal"))], "is for goal"),
        ([grant(given_by="orchestrator", key=KEYS["orchestrator"])], "not by a gateway"),
        ([grant(key=KEYS["orchestrator"])], "the key of gateway"),
        ([replace(GIVEN, signature=grant(life_ms=1_000).signature)], "not signed by"),
        ([first_grant("orchestrator", GOAL, ["*"], given_by="gateway", key=KEYS["gateway"], now_ms=NOW, life_ms=9)],
         "does not say what the goal may spend"),
        ([grant(key=KEYS["orchestrator"]), GIVEN], "the key of gateway"),
    ],
)  # fmt: skip
def test_a_grant_that_is_none_of_this_goal_counts_for_nothing(links: list[Attestation], told: str) -> None:
    assert told in detail(sent(*links))


def test_a_key_that_was_revoked_grants_nothing_more_and_one_that_ended_does() -> None:
    assert "key_revoked" in detail(sent(GIVEN), make_trust(revoked_at=timestamp(NOW + 1)))
    assert detail(sent(GIVEN), make_trust(not_after=timestamp(NOW + 1))) == "", "a rotated key's goals go on"


AMOUNTS = st.builds(Amount, *[st.integers(0, 10**7)] * 4)


@given(
    AMOUNTS, st.integers(1, 2 * LIFE_MS), st.lists(st.sampled_from(["skill:*", "skill:a", "net:*", "*"]), max_size=3)
)
def test_nothing_passes_that_is_wider_in_anything(budget: Amount, ttl_ms: int, held: list[str]) -> None:
    envelope = sent(GIVEN, budget=budget.budget, ttl_ms=ttl_ms, policy_context=replace(POLICY, capabilities=held))
    within = budget.within(LIMITS.amount) and ttl_ms <= LIFE_MS - 5 and all(one.startswith("skill:") for one in held)
    assert (detail(envelope) == "") == within


def test_who_needs_it_and_what_is_left_without_it() -> None:
    assert [name for name in KEYS if needs_grant(name)] == ["evaluator", "auditor", "synthesizer"]
    assert needs_grant("evaluator.2")
    other = attest({"predicateType": "other"}, KEYS["executor"])
    assert without_grants([GIVEN, other]) == [other]
    assert goal_grant_of([other, GIVEN]) == GIVEN
