"""Hops under a contract: what leaves it is refused, and a later version stops what it says it stops."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from interlock.envelope.amounts import timestamp
from interlock.envelope.capabilities import exceeding, holds
from interlock.envelope.contract import ContractAgent, EmergencyFlags
from interlock.envelope.contract_chain import Chain
from interlock.envelope.contract_gate import LINGERING_MS, check_contract
from interlock.envelope.model import Envelope, PolicyContext
from interlock.envelope.verdict import Reason
from tests.envelope.contracts import FIRST, NOW, chain_of, grown
from tests.envelope.samples import make


def hop(chain: Chain, **more: Any) -> Envelope:
    """A task of the orchestrator under the chain's first version."""
    context = PolicyContext(policy_bundle="b" * 64, contract_ref=chain.versions[0].ref, capabilities=["skill:*"])
    return replace(make("task").envelope, policy_context=replace(context, **more))


def test_hops_move_under_the_version_they_began_with() -> None:
    chain = grown(chain_of(), policy_bundle_checksum="c" * 64)
    assert check_contract(hop(chain), chain).ok
    assert check_contract(hop(chain, policy_bundle="c" * 64, contract_ref=chain.head.ref), chain).ok
    assert check_contract(hop(chain, capabilities=["skill:mapping-context"]), chain).ok


def test_a_goal_begins_with_no_more_than_its_contract_allows_one() -> None:
    """Whatever a gateway gone wrong admits."""
    chain = chain_of()
    most = chain.head.contract.quotas.per_goal
    intake = replace(make("intake").envelope, policy_context=hop(chain).policy_context)
    for more in ({}, {"cost_usd": "1.000001"}, {"actions": 11}, {"wall_ms": 1}):
        budget = replace(most, **more)
        begun = replace(intake, budget=budget, thinking_budget=budget.thinking_tokens)
        assert check_contract(begun, chain).reason is (Reason.CONTRACT_MISMATCH if more else Reason.OK), more
        overridden = grown(chain, emergency_flags=EmergencyFlags(budget_override=True))
        assert check_contract(begun, overridden).ok


def test_a_version_that_was_superseded_long_ago_starts_nothing_any_more() -> None:
    """A gateway gone wrong could otherwise begin goals under a laxer version for ever."""
    chain = grown(chain_of(), policy_bundle_checksum="c" * 64)
    last_ms = NOW + 3_600_000 + LINGERING_MS
    assert check_contract(replace(hop(chain), created_at=timestamp(last_ms)), chain).ok
    late = replace(hop(chain), created_at=timestamp(last_ms + 1))
    assert check_contract(late, chain).reason is Reason.CONTRACT_MISMATCH
    assert check_contract(late, chain_of()).ok, "the newest version has no end"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"contract_ref": ""}, Reason.CONTRACT_MISMATCH),
        ({"contract_ref": "a" * 64}, Reason.CONTRACT_UNKNOWN),
        ({"policy_bundle": "c" * 64}, Reason.CONTRACT_MISMATCH),
        ({"policy_bundle": ""}, Reason.CONTRACT_MISMATCH),
        ({"capabilities": ["skill:*", "audit:*"]}, Reason.CONTRACT_MISMATCH),
        ({"capabilities": ["*"]}, Reason.CONTRACT_MISMATCH),
    ],
)
def test_hops_that_leave_their_contract(more: dict[str, Any], expected: Reason) -> None:
    checked = check_contract(hop(chain_of(), **more), chain_of())
    assert (checked.reason, bool(checked.detail)) == (expected, True)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"lifecycle": "frozen"}, Reason.OK),
        ({"lifecycle": "retired"}, Reason.CONTRACT_MISMATCH),
        ({"emergency_flags": EmergencyFlags(halted=True)}, Reason.HALTED),
        ({"retired_refs": [chain_of().head.ref]}, Reason.CONTRACT_MISMATCH),
        ({"agents": [entry for entry in FIRST.agents if entry.agent != "orchestrator"]}, Reason.OK),
    ],
)
def test_a_new_version_stops_goals_begun_before_only_if_it_says_so(more: dict[str, Any], expected: Reason) -> None:
    chain = grown(chain_of(), **more)
    assert check_contract(hop(chain), chain).reason is expected


def test_agents_that_the_contract_does_not_name() -> None:
    chain = chain_of(replace(FIRST, agents=[entry for entry in FIRST.agents if entry.agent != "orchestrator"]))
    assert check_contract(hop(chain), chain).reason is Reason.CONTRACT_MISMATCH
    draft = chain_of(replace(FIRST, lifecycle="draft"))
    assert check_contract(hop(draft), draft).reason is Reason.CONTRACT_MISMATCH
    one = replace(
        FIRST, agents=[ContractAgent(agent="executor", capabilities=["skill:*"]), ContractAgent(agent="orchestrator.1")]
    )
    chain = chain_of(one)
    assert check_contract(hop(chain), chain).reason is Reason.CONTRACT_MISMATCH, "another instance"
    assert check_contract(replace(hop(chain), sender="orchestrator.1"), chain).ok


@pytest.mark.parametrize(
    ("held", "wanted", "over"),
    [
        (["skill:*"], ["skill:a", "skill:*", "skill:a*"], []),
        (["skill:a"], ["skill:*", "skill:ab", "skill:a"], ["skill:*", "skill:ab"]),
        (["skill:[ab]"], ["skill:a"], ["skill:a"]),
        (["skill:????"], ["skill:abcd"], ["skill:abcd"]),
        ([], ["x"], ["x"]),
        (["*"], ["anything", "*"], []),
    ],
)
def test_capabilities_only_narrow(held: list[str], wanted: list[str], over: list[str]) -> None:
    assert exceeding(held, wanted) == over
    assert all(holds(held, one) for one in set(wanted) - set(over))
