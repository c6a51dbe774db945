"""Children: inherit, never outlive or outspend their parent, and are the same after every redelivery."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import UNSET
from msgspec.structs import replace

from interlock.envelope.amounts import ZERO, Amount, time_ms
from interlock.envelope.children import ChildRefused, Draft, Origin, derive, origin_of
from interlock.envelope.ids import derived_id, span_of
from interlock.envelope.model import Envelope
from interlock.envelope.payloads import Escalation
from interlock.envelope.signing import has_valid_signature, seal
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import decode, verify
from tests.envelope.samples import ENVELOPES, GOAL, KEYS, NOW, TRUST, WORKSPACE, id_time_ms, make_root

PARENT = ENVELOPES["intake"]
ORIGIN = origin_of(PARENT.envelope, PARENT.digest)
QUESTION = Escalation(code="c", question="q")


def child(
    origin: Origin = ORIGIN, *, step: str = "s", now_ms: int = NOW, granted: Amount = ZERO, **draft: Any
) -> Envelope:
    usual: dict[str, Any] = {"to": "orchestrator", "intent": "escalate", "payload": QUESTION, "step": step}
    wanted = Draft(**usual | draft)
    return derive(origin, wanted, sender="executor", key_id=KEYS["executor"].key_id, now_ms=now_ms, granted=granted)


def refused(**arguments: Any) -> str:
    with pytest.raises(ChildRefused) as caught:
        child(**arguments)
    assert str(caught.value).startswith(caught.value.reason)
    return caught.value.reason


def test_a_child_inherits() -> None:
    made, parent = child(), PARENT.envelope
    for field in ("workspace", "goal_id", "trace_id", "policy_context", "compliance_tags", "risk_tier"):
        assert getattr(made, field) == getattr(parent, field)
    assert (made.parent_id, made.parent_digest) == (parent.id, PARENT.digest)
    assert made.span_id == span_of(made.id) != parent.span_id
    assert made.subject == f"interlock.default.role.orchestrator.{GOAL}.escalate"
    assert child(risk_tier="high").risk_tier == "high"
    sealed = seal(made, KEYS["executor"])
    checked = verify(sealed.wire, subject=made.subject, recipient="orchestrator", trust=TRUST, now_ms=NOW)
    assert checked.reason is Reason.OK


def test_a_root_has_no_parent() -> None:
    envelope = make_root().envelope
    assert (envelope.parent_id, envelope.parent_digest) == (UNSET, UNSET)
    assert envelope.id == derived_id(WORKSPACE, GOAL, "gateway", "intake")
    assert make_root() == make_root()


@given(st.lists(st.text(max_size=6), unique=True, max_size=10), st.integers(0, 599_999))
def test_children_are_the_same_after_every_redelivery(steps: list[str], later: int) -> None:
    ids = [child(step=step).id for step in steps]
    assert ids == [child(step=step, now_ms=NOW + later).id for step in steps]
    assert len(set(ids)) == len(steps)
    assert {id_time_ms(one) for one in ids} <= {NOW}


AMOUNTS = st.builds(Amount, *[st.integers(-3, 50)] * 4)


class Grants(RuleBasedStateMachine):
    """A parent and what is asked of it, over generations: no order of requests spends more than was granted."""

    def __init__(self) -> None:
        super().__init__()
        self.origins = [replace(ORIGIN, budget=Amount(100, 100, 100, 100))]
        self.granted = [ZERO]
        self.step = 0

    @rule(wanted=AMOUNTS, choice=st.integers(0, 1000), now=st.integers(0, 700_000))
    def ask(self, wanted: Amount, choice: int, now: int) -> None:
        index = choice % len(self.origins)
        origin, before = self.origins[index], self.granted[index]
        self.step += 1
        try:
            made = child(origin, step=str(self.step), budget=wanted, granted=before, now_ms=NOW + now)
        except ChildRefused as refusal:
            fits = ZERO.within(wanted) and (before + wanted).within(origin.budget)
            assert refusal.reason == ("expired" if fits else "over_budget")
            assert not fits or NOW + now >= origin.deadline_ms
            return
        assert made.budget.amount == wanted
        assert made.thinking_budget == wanted.tokens
        sealed = seal(made, KEYS["executor"])
        assert decode(sealed.wire).ok
        assert has_valid_signature(sealed.envelope)
        self.granted[index] = before + wanted
        self.origins.append(origin_of(sealed.envelope, sealed.digest))
        self.granted.append(ZERO)

    @precondition(lambda self: len(self.origins) > 1)
    @invariant()
    def no_parent_is_outspent_or_outlived(self) -> None:
        budgets = {origin.id: origin.budget for origin in self.origins}
        assert len(budgets) == len(self.origins), "ids are unique"
        for origin, granted in zip(self.origins, self.granted, strict=True):
            assert ZERO.within(granted)
            assert granted.within(origin.budget)
            assert origin.deadline_ms <= ORIGIN.deadline_ms


TestGrants = Grants.TestCase


@pytest.mark.parametrize("dimension", Amount.__struct_fields__)
def test_no_dimension_is_overspent(dimension: str) -> None:
    limit = getattr(ORIGIN.budget, dimension)
    assert child(budget=Amount(**{dimension: limit})).budget.amount == Amount(**{dimension: limit})
    assert refused(budget=Amount(**{dimension: limit + 1})) == "over_budget"
    assert refused(budget=Amount(**{dimension: 1}), granted=Amount(**{dimension: limit})) == "over_budget"
    assert refused(budget=Amount(**{dimension: -1})) == "over_budget"


@given(st.integers(-10_000, 700_000), st.none() | st.integers(-5, 10**7))
def test_no_child_outlives_its_parent(later: int, ttl: int | None) -> None:
    left = ORIGIN.deadline_ms - (NOW + later)
    if left <= 0 or (ttl is not None and ttl <= 0):
        assert refused(now_ms=NOW + later, ttl_ms=ttl) == "expired"
        return
    made = child(now_ms=NOW + later, ttl_ms=ttl)
    assert made.ttl_ms == (left if ttl is None else min(ttl, left))
    assert time_ms(made.created_at) + made.ttl_ms <= ORIGIN.deadline_ms


@pytest.mark.parametrize(
    "to", ["", "*", ">", "Executor", "executor.2.3", "executor.*", "a\n", "exec utor", "а"], ids=ascii
)
def test_a_child_goes_to_an_agent_or_nowhere(to: str) -> None:
    with pytest.raises(ValueError, match="not an agent"):
        child(to=to)


@pytest.mark.parametrize("per_mille", [-1, 1001])
def test_confidence_is_a_share(per_mille: int) -> None:
    with pytest.raises(ValueError, match="parts per thousand"):
        child(confidence=per_mille)
