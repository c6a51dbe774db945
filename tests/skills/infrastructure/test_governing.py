from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from interlock.envelope.verdict import Decision
from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.blueprint.policies import Policies
from interlock.skills.infrastructure.governing import (
    action_digest,
    compliant,
    govern,
    govern_operation,
)
from interlock.skills.infrastructure.observed import ObservedState
from interlock.skills.infrastructure.operation_names import BY_NAME, OPERATION_NAMES
from interlock.skills.infrastructure.operations import DeleteResource, Operation, PatchResources, RolloutUndo, Scale
from interlock.skills.infrastructure.target import ContainerResources, Target
from tests.skills.infrastructure.blueprint.test_model import FRONTEND

SEEN = Target(namespace="default", kind="Deployment", name="todo-frontend", uid="u-1", resource_version="41")
NOW = ContainerResources(cpu_request_m=50, cpu_limit_m=200, memory_request_bytes=1 << 27, memory_limit_bytes=1 << 29)
STATE = ObservedState(target=SEEN, at_ms=0, replicas=2, ready_replicas=2, resources=NOW)
NAMES = [entry.name for entry in OPERATION_NAMES]


def governed(**tiers: Any) -> Blueprint:
    return replace(FRONTEND, governance=replace(FRONTEND.governance, approvers=("devops-team",), **tiers))


USUAL = governed(
    **{
        field: tuple(entry.name for entry in OPERATION_NAMES if entry.usual == tier)
        for field, tier in (
            ("allowed_operations", "allowed"),
            ("requires_approval", "requires_approval"),
            ("forbidden_operations", "forbidden"),
        )
    }
)


def scale(replicas: int) -> Scale:
    return Scale(target=SEEN, from_replicas=2, replicas=replicas)


@pytest.mark.parametrize("entry", OPERATION_NAMES, ids=lambda entry: entry.name)
def test_each_name_is_judged_by_its_tier(entry: Any) -> None:
    verdict = govern(USUAL, entry.name)
    expected = {
        "allowed": (Decision.ALLOW, "ok", "allowed_operations"),
        "requires_approval": (Decision.NEEDS_APPROVAL, "approval_required", "requires_approval"),
        "forbidden": (Decision.DENY, "operation_forbidden", "forbidden_operations"),
    }[entry.usual]
    (ground,) = verdict.grounds
    assert (verdict.decision, ground.code) == expected[:2]
    assert ground.rule == f"spec.governance.agent_authority.{expected[2]}"


@given(st.text(max_size=40))
def test_a_name_nobody_knows_is_denied(name: str) -> None:
    verdict = govern(USUAL, name)
    assert name in BY_NAME or (verdict.decision, verdict.grounds[0].code) == (Decision.DENY, "operation_unknown")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "roll_back"])
def test_what_is_in_no_tier_is_denied(name: str) -> None:
    verdict = govern(governed(), name)
    assert (verdict.decision, verdict.grounds[0].code) == (Decision.DENY, "operation_not_listed")
    assert verdict.grounds[0].rule == "spec.governance.agent_authority"


def test_the_way_back_is_allowed_by_the_reliability_section_alone() -> None:
    assert govern(governed(), "roll_back").grounds[0].rule == "spec.reliability.rollback_on_failure"
    never = replace(FRONTEND, reliability=replace(FRONTEND.reliability, rollback_on_failure=False))
    assert govern(never, "roll_back").decision is Decision.DENY
    assert govern(governed(forbidden_operations=("roll_back",)), "roll_back").decision is Decision.DENY
    assert govern(governed(requires_approval=("roll_back",)), "roll_back").decision is Decision.NEEDS_APPROVAL


STRICTER = {Decision.ALLOW: 0, Decision.NEEDS_APPROVAL: 1, Decision.DENY: 2}


@given(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES)), st.lists(st.sampled_from(NAMES)))
def test_policies_only_narrow(name: str, asked: list[str], forbidden: list[str]) -> None:
    policies = Policies(requires_approval=tuple(asked), forbidden_operations=tuple(forbidden))
    alone, together = govern(USUAL, name), govern(USUAL, name, policies)
    assert STRICTER[together.decision] >= STRICTER[alone.decision]
    if name in forbidden:
        assert together.decision is Decision.DENY
    if together != alone and together.decision is not alone.decision:
        assert together.grounds[0].rule.startswith("policies.")


@given(st.sampled_from(NAMES), st.data())
def test_in_two_tiers_the_stricter_holds(name: str, data: st.DataObject) -> None:
    """The reader refuses such a blueprint; were one made in another way, it would still fail closed."""
    tiers = data.draw(
        st.sets(st.sampled_from(["allowed_operations", "requires_approval", "forbidden_operations"]), min_size=1)
    )
    verdict = govern(governed(**dict.fromkeys(tiers, (name,))), name)
    if "forbidden_operations" in tiers:
        assert verdict.decision is Decision.DENY
    elif "requires_approval" in tiers:
        assert verdict.decision is Decision.NEEDS_APPROVAL


@pytest.mark.parametrize(
    ("operation", "decision", "instead"),
    [
        (scale(5), Decision.ALLOW, ""),
        (scale(9), Decision.NEEDS_APPROVAL, "scale_within_limits: 5 replicas"),
        (scale(0), Decision.NEEDS_APPROVAL, "scale_within_limits: 1 replicas"),
        (DeleteResource(target=SEEN), Decision.DENY, "scale_within_limits: 1 to 5 replicas"),
        (RolloutUndo(target=SEEN, to_revision=3), Decision.ALLOW, ""),
        (
            PatchResources(target=SEEN, container="frontend", before=NOW, after=replace(NOW, cpu_request_m=80)),
            Decision.NEEDS_APPROVAL,
            "adjust_resources_within_10_percent: move requests or limits by at most a tenth",
        ),
        (
            PatchResources(target=SEEN, container="frontend", before=NOW, after=replace(NOW, cpu_request_m=55)),
            Decision.ALLOW,
            "",
        ),
    ],
    ids=str,
)
def test_operations_are_judged_by_what_they_do(operation: Operation, decision: Decision, instead: str) -> None:
    verdict = govern_operation(USUAL, operation, STATE)
    assert (verdict.decision, verdict.grounds[0].instead) == (decision, instead)


def test_no_alternative_that_is_forbidden_itself() -> None:
    blueprint = governed(requires_approval=("scale_beyond_limits",))
    assert govern_operation(blueprint, scale(9), STATE).grounds[0].instead == ""


@pytest.mark.parametrize(
    "target",
    [
        replace(SEEN, name="todo-backend"),
        replace(SEEN, namespace="kube-system"),
        replace(SEEN, kind="StatefulSet"),
    ],
    ids=str,
)
def test_another_service_is_nobodys_business(target: Target) -> None:
    verdict = govern_operation(USUAL, Scale(target=target, from_replicas=2, replicas=3), STATE)
    assert (verdict.decision, verdict.grounds[0].code) == (Decision.DENY, "foreign_target")


@given(st.integers(0, 50), st.integers(1, 5))
def test_the_alternative_is_compliant(replicas: int, current: int) -> None:
    operation = Scale(target=SEEN, from_replicas=current, replicas=replicas)
    other = compliant(USUAL, operation, STATE)
    if isinstance(other, Scale):
        assert govern_operation(USUAL, other, STATE).allowed
        assert other.replicas != current


BYTES = st.integers(1 << 20, 1 << 34)


@given(st.integers(1, 4000), st.integers(1, 4000), BYTES, BYTES)
def test_the_alternative_of_a_large_change_is_a_small_one(cpu: int, new_cpu: int, memory: int, new_memory: int) -> None:
    before = ContainerResources(cpu_request_m=cpu, memory_request_bytes=memory)
    state = replace(STATE, resources=before)
    after = ContainerResources(cpu_request_m=new_cpu, memory_request_bytes=new_memory)
    operation = PatchResources(target=SEEN, container="frontend", before=before, after=after)
    other = compliant(USUAL, operation, state)
    assert other is None or govern_operation(USUAL, other, state).allowed


@given(st.integers(0, 99), st.integers(0, 99), st.sampled_from(["41", "42"]), st.sampled_from(["u-1", "u-2"]))
def test_different_actions_have_different_digests(first: int, second: int, version: str, uid: str) -> None:
    one, other = scale(first), replace(scale(second), target=replace(SEEN, resource_version=version, uid=uid))
    assert (action_digest(one) == action_digest(other)) == (one == other)
