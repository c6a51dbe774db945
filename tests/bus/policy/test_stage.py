"""The policy layer: nothing reaches the handler that is not allowed, and every refusal says what would be."""

from __future__ import annotations

import pytest

from interlock.bus.hop import DONE, Disposition, Hop, Outcome
from interlock.bus.policy.facts import ApprovalFacts, Facts, TaskFacts
from interlock.bus.policy.service import policy_service
from interlock.bus.policy.stage import HopFactsSource, Judge, policy_layer, refusal
from interlock.envelope.payloads import Escalation
from interlock.envelope.verdict import ALLOW, Decision, Ground, Reason, Verdict, deny
from tests.bus.policy.bundles import POLICIES
from tests.bus.policy.hops import Source, task_hop

pytestmark = pytest.mark.anyio

FACTS = TaskFacts(skill="resizing-images", capability="skill:resizing-images")
APPROVAL = ApprovalFacts(by="human.ada", age_ms=60_000, digest_matches=True)


async def through(hop: Hop, judge: Judge, approval: ApprovalFacts | None = None) -> tuple[Outcome, int]:
    """(outcome, how many times the handler was called)."""
    handled = 0

    async def handler(_: Hop) -> Outcome:
        nonlocal handled
        handled += 1
        return DONE

    source = HopFactsSource("executor", Source(), lambda _: FACTS, lambda _: approval)
    return await policy_layer(judge, source)(handler)(hop), handled


async def test_what_the_policies_allow_is_handled_and_the_rest_is_not() -> None:
    service = policy_service(POLICIES)
    hop = task_hop()
    assert await through(hop, service) == (DONE, 1)
    assert hop.policy == ALLOW
    outcome, handled = await through(task_hop(tags=()), service)
    assert (outcome.disposition, outcome.reason, handled) == (Disposition.DEAD, Reason.POLICY_DENIED, 0)
    assert outcome.detail.startswith("deny: data_unclassified (classification.classified):")
    assert "allowed: data_classification:" in outcome.detail


async def test_what_needs_approval_is_not_handled_without_and_the_verdict_stays_with_the_hop() -> None:
    service = policy_service(POLICIES)
    hop = task_hop(confidence=849)
    outcome, handled = await through(hop, service)
    assert (outcome.disposition, outcome.reason, handled) == (Disposition.DEAD, Reason.POLICY_DENIED, 0)
    assert outcome.detail.startswith("needs_approval: low_confidence")
    assert hop.policy is not None
    assert (hop.policy.decision, [ground.code for ground in hop.policy.grounds]) == (
        Decision.NEEDS_APPROVAL,
        ["low_confidence"],
    )
    assert await through(task_hop(confidence=849), service, APPROVAL) == (DONE, 1)


class Asking:
    async def judge(self, facts: Facts) -> Verdict:
        return Verdict(Decision.NEEDS_APPROVAL, (Ground("asks", "it asks", "house.asks", "an approval"),))


async def test_what_is_no_task_is_told_that_no_approval_helps_it() -> None:
    hop = task_hop(payload=Escalation(code="stuck", question="what now?"), intent="escalate")
    outcome, handled = await through(hop, Asking())
    assert (outcome.disposition, outcome.reason, handled) == (Disposition.DEAD, Reason.POLICY_DENIED, 0)
    assert (
        "only a task can wait for an approval, and this is of the type escalation: it is denied; asks" in outcome.detail
    )
    task, _ = await through(task_hop(), Asking())
    assert "only a task" not in task.detail


async def test_high_risk_needs_approval_oversight_and_transparency() -> None:
    service = policy_service(POLICIES)
    tags = ("data:internal", "oversight:human", "transparency:given")
    assert (await through(task_hop(risk_tier="high", tags=tags), service))[1] == 0
    assert await through(task_hop(risk_tier="high", tags=tags), service, APPROVAL) == (DONE, 1)
    for missing in tags:
        left = tuple(tag for tag in tags if tag != missing)
        assert (await through(task_hop(risk_tier="high", tags=left), service, APPROVAL))[1] == 0


class Broken:
    async def judge(self, facts: Facts) -> Verdict:
        raise RuntimeError(f"no verdict on {facts.hop.payload}")


async def test_a_judge_that_fails_has_refused() -> None:
    outcome, handled = await through(task_hop(), Broken())
    assert (outcome.disposition, outcome.reason, handled) == (Disposition.DEAD, Reason.GATE_FAILED, 0)
    assert "RuntimeError: no verdict on task" in outcome.detail


NEEDS = Verdict(Decision.NEEDS_APPROVAL, (Ground("low_confidence", "m"),))


@pytest.mark.parametrize(
    ("verdict", "disposition", "reason"),
    [
        (deny("capability_missing", "m"), Disposition.DEAD, Reason.POLICY_DENIED),
        (NEEDS, Disposition.DEAD, Reason.POLICY_DENIED),
        (deny("rate_limited", "m"), Disposition.RETRY, Reason.RATE_LIMITED),
        (
            Verdict(Decision.DENY, (Ground("rate_limited", "m"), Ground("x", "m"))),
            Disposition.DEAD,
            Reason.POLICY_DENIED,
        ),
        (deny("policy_timeout", "m"), Disposition.RETRY, Reason.GATE_FAILED),
        (deny("policy_unavailable", "m"), Disposition.RETRY, Reason.GATE_FAILED),
        (deny("policy_stale_answer", "m"), Disposition.RETRY, Reason.GATE_FAILED),
        (deny("policy_undefined", "m"), Disposition.DEAD, Reason.POLICY_DENIED),
        (deny("policy_error", "m"), Disposition.DEAD, Reason.POLICY_DENIED),
        (deny("policy_conflict", "m"), Disposition.DEAD, Reason.POLICY_DENIED),
        (Verdict(Decision.DENY), Disposition.DEAD, Reason.POLICY_DENIED),
    ],
)
def test_what_follows_from_a_verdict(verdict: Verdict, disposition: Disposition, reason: Reason) -> None:
    outcome = refusal(verdict)
    assert (outcome.disposition, outcome.reason) == (disposition, reason)


async def test_haste_is_a_fact() -> None:
    source = HopFactsSource("executor", Source(), lambda _: FACTS)
    counts = [source.of(task_hop()).rates.agent_per_minute for _ in range(250)]
    assert counts == [*[0] * 100, *[100] * 100, *[200] * 50]
