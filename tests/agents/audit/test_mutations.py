"""Any single change to a goal's recorded hops is found, whoever makes it: a stranger, the broker, or an agent with its key."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from interlock.agents.audit.hop_graph import HopAudit, Memo, audit_hops
from interlock.bus.transport import MESSAGE_ID, Message
from interlock.envelope.amounts import Amount, timestamp
from interlock.envelope.ids import new_id, span_of
from interlock.envelope.payloads import Escalation, HaltNotice
from interlock.envelope.signing import seal
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import Limits
from tests.agents.audit.histories import (
    BUDGET,
    GOAL,
    KEYS,
    NOW,
    PLAN,
    VERDICT,
    WORKSPACE,
    History,
    goal_history,
    make_trust,
)

TRUST = make_trust()
WHOLE = goal_history(3)
HOPS = len(WHOLE.messages)
OTHER_GOAL = new_id(NOW, b"other-goal")
OTHER = goal_history(1, OTHER_GOAL)


def audit(messages: list[Message], trust: Any = TRUST) -> HopAudit:
    return audit_hops(messages, trust)


def has_children(index: int) -> bool:
    name = WHOLE.sealed[index].envelope.id
    return any(sealed.envelope.parent_id == name for sealed in WHOLE.sealed)


def at(index: int, **more: Any) -> list[Message]:
    messages = [*WHOLE.messages]
    messages[index] = replace(messages[index], **more)
    return messages


def test_a_history_as_it_was_written_verifies_with_and_without_memo() -> None:
    memo = Memo()
    for _ in range(2):
        found = audit_hops(WHOLE.messages, TRUST, memo=memo)
        assert [hop.reason for hop in found.hops] == [Reason.OK] * HOPS
        assert (found.verified, found.refused, found.broken_inside) == (HOPS, [], [])


@given(st.integers(0, HOPS - 1), st.data())
@settings(max_examples=150, deadline=None)
def test_one_changed_byte_anywhere_is_found(index: int, data: st.DataObject) -> None:
    wire = WHOLE.messages[index].data
    position = data.draw(st.integers(0, len(wire) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda byte: byte != wire[position]))
    changed = wire[:position] + bytes([value]) + wire[position + 1 :]
    found = audit(at(index, data=changed))
    assert not found.hops[index].verified
    assert len(found.refused) == HOPS - found.verified >= 1
    # Whatever hangs below the changed hop has lost its parent.
    below = [
        number
        for number, sealed in enumerate(WHOLE.sealed)
        if sealed.envelope.parent_id == WHOLE.sealed[index].envelope.id
    ]
    assert all(found.hops[number].reason is Reason.BAD_PARENT for number in below)


@pytest.mark.parametrize("index", range(HOPS))
def test_a_hop_that_is_gone_is_missed_by_its_children(index: int) -> None:
    """A leaf is missed by nobody: only the audit log's chain (a later part) can tell that one was cut off."""
    found = audit(WHOLE.messages[:index] + WHOLE.messages[index + 1 :])
    assert (found.verified < HOPS - 1) == has_children(index)
    assert {hop.reason for hop in found.hops if not hop.verified} <= {Reason.BAD_PARENT}


@pytest.mark.parametrize("index", range(HOPS))
def test_a_repeat_is_named_and_blocks_nothing(index: int) -> None:
    """Whoever can read can publish an exact copy: refused by its receiver, named here, no reason to stop a goal."""
    again = replace(WHOLE.messages[index], sequence=10**6)
    found = audit([*WHOLE.messages, again])
    assert found.hops[-1].reason is Reason.REPLAYED
    assert found.hops[-1].detail == f"already at sequence {WHOLE.messages[index].sequence}"
    assert (found.verified, found.broken_inside) == (HOPS, [])
    bare = audit([*WHOLE.messages, replace(again, headers={})])
    assert bare.hops[-1].reason is Reason.WRONG_MESSAGE_ID
    assert bare.broken_inside == []


@given(st.integers(0, HOPS - 2), st.integers(1, HOPS - 1))
@settings(deadline=None)
def test_an_effect_before_its_cause_is_found(index: int, distance: int) -> None:
    """Hops moved behind others: found if one of the others hangs below."""
    later = min(HOPS - 1, index + distance)
    messages = [*WHOLE.messages]
    messages.insert(later, messages.pop(index))
    name = WHOLE.sealed[index].envelope.id
    overtaking = [sealed for sealed in WHOLE.sealed[index + 1 : later + 1] if sealed.envelope.parent_id == name]
    found = audit(messages)
    assert [hop.reason for hop in found.hops if not hop.verified] == [Reason.BAD_PARENT] * len(overtaking)


def subject(role: str, goal_id: str = GOAL, intent: str = "act", workspace: str = WORKSPACE) -> str:
    return f"interlock.{workspace}.role.{role}.{goal_id}.{intent}"


@pytest.mark.parametrize("index", range(HOPS))
@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"subject": subject("human")}, Reason.WRONG_SUBJECT),
        ({"subject": subject("executor", OTHER_GOAL)}, Reason.WRONG_SUBJECT),
        ({"subject": subject("executor", workspace="other")}, Reason.WRONG_SUBJECT),
        ({"subject": ""}, Reason.WRONG_SUBJECT),
        ({"headers": {}}, Reason.WRONG_MESSAGE_ID),
        ({"headers": {MESSAGE_ID: "x"}}, Reason.WRONG_MESSAGE_ID),
        ({"stored_ms": NOW + 10**7}, Reason.EXPIRED),
        ({"stored_ms": NOW - 10**5}, Reason.FROM_FUTURE),
        ({"data": b""}, Reason.MALFORMED),
        ({"data": b"\xff\xfe"}, Reason.MALFORMED),
        ({"data": b" " * (256 * 1024 + 1)}, Reason.TOO_LARGE),
    ],
)
def test_the_same_bytes_in_another_place_are_refused(index: int, more: dict[str, Any], reason: Reason) -> None:
    hop = audit(at(index, **more)).hops[index]
    assert hop.reason is reason
    assert hop.detail


def insider(kind: str) -> tuple[History, str]:
    """A hop that only the rightful key could have signed, but which does not fit where it stands."""
    history = goal_history(1)
    mandate, plan = history.sealed[2], history.sealed[1]
    escalation = Escalation(code="x", question="?")
    if kind == "over_budget":
        task = history.sealed[3].envelope.payload
        history.child(mandate, "orchestrator", "executor", "act", task, budget=BUDGET)
        return history, "budgets"
    if kind == "root_by_another_step":
        history.intake()
        odd = replace(history.sealed[-1].envelope, id=new_id(NOW, b"any" * 4))
        history.messages.pop()
        history.store(seal(replace(odd, span_id=span_of(odd.id)), KEYS["gateway"]))
        return history, "not derived from its goal"
    if kind == "no_parent":
        bare = replace(history.sealed[-1].envelope, parent_id=UNSET, parent_digest=UNSET)
        name = new_id(NOW, b"bare" * 3)
        history.store(seal(replace(bare, id=name, span_id=span_of(name)), KEYS["orchestrator"]))
        return history, "only a gateway"
    history.child(plan, "evaluator", "orchestrator", "escalate", escalation)
    envelope = history.sealed[-1].envelope
    history.messages.pop()
    wrong: dict[str, tuple[dict[str, Any], str]] = {
        "unknown_parent": ({"parent_id": new_id(NOW, b"nobody" * 2)}, "not among"),
        "parent_of_another_goal": ({"parent_id": OTHER.sealed[1].envelope.id}, "not among"),
        "other_digest": ({"parent_digest": "0" * 64}, "parentDigest"),
        "no_digest": ({"parent_digest": UNSET}, "parentDigest"),
        "other_trace": ({"trace_id": "cd" * 16}, "trace"),
        "outlives": ({"ttl_ms": envelope.ttl_ms + 60}, "outlives"),
    }
    if kind == "chosen_id":
        name = new_id(NOW + 1, b"chosen" * 2)
        history.store(seal(replace(envelope, id=name, span_id=span_of(name)), KEYS["evaluator"]))
        return history, "not derived"
    change, told = wrong[kind]
    history.store(seal(replace(envelope, **change), KEYS["evaluator"]))
    return history, told


@pytest.mark.parametrize(
    "kind",
    [
        "over_budget",
        "root_by_another_step",
        "no_parent",
        "unknown_parent",
        "parent_of_another_goal",
        "other_digest",
        "no_digest",
        "other_trace",
        "outlives",
        "chosen_id",
    ],
)
def test_what_an_agent_signs_against_the_rules_of_the_graph_is_a_deviation(kind: str) -> None:
    history, told = insider(kind)
    found = audit(history.messages)
    assert [hop.reason for hop in found.hops[:-1]] == [Reason.OK] * (len(found.hops) - 1)
    assert found.hops[-1].reason is Reason.BAD_PARENT
    assert told in found.hops[-1].detail
    assert [hop.sequence for hop in found.broken_inside] == [history.messages[-1].sequence]


def test_two_different_envelopes_under_one_id_are_a_deviation() -> None:
    history = goal_history(1)
    first = history.sealed[-1].envelope
    history.store(seal(replace(first, created_at=timestamp(NOW + 500), ttl_ms=1000), KEYS["orchestrator"]))
    found = audit(history.messages)
    assert found.hops[-1].reason is Reason.REPLAYED
    assert len(found.broken_inside) == 1


def test_who_may_not_say_it_and_who_is_not_who_it_claims_to_be() -> None:
    history = goal_history(1)
    plan = history.sealed[1]
    history.child(plan, "evaluator", "orchestrator", "escalate", HaltNotice(scope="everything", reason="!"))
    envelope = history.child(plan, "evaluator", "orchestrator", "escalate", Escalation(code="x", question="?")).envelope
    history.messages.pop()
    history.store(seal(envelope, KEYS["executor"]))
    history.messages.append(replace(OTHER.messages[3], sequence=9_999, subject=subject("executor")))
    found = audit(history.messages)
    assert [hop.reason for hop in found.hops[-3:]] == [
        Reason.POLICY_DENIED,
        Reason.KEY_NOT_FOR_AGENT,
        Reason.WRONG_SUBJECT,
    ]
    assert len(found.broken_inside) == 3
    assert found.refused[1].claimed_from == "evaluator"


def test_a_revoked_key_counts_from_when_the_broker_stored_the_hop() -> None:
    third = WHOLE.messages[4].stored_ms  # the executor's first result
    late = audit(WHOLE.messages, make_trust(executor={"revoked_at": timestamp(third)}))
    assert late.hops[4].reason is Reason.KEY_REVOKED
    assert late.hops[4] in late.broken_inside
    assert audit(WHOLE.messages, make_trust(executor={"revoked_at": timestamp(NOW + 10**6)})).verified == HOPS


def test_a_stranger_is_named_and_blocks_nothing() -> None:
    strange = make_trust()
    del strange._keys[KEYS["executor"].key_id]
    found = audit(WHOLE.messages, strange)
    assert {hop.reason for hop in found.hops if hop.envelope and hop.envelope.sender == "executor"} == {
        Reason.UNKNOWN_KEY
    }
    assert all(hop.reason is not Reason.UNKNOWN_KEY for hop in found.broken_inside)


def test_the_memo_answers_only_for_the_very_message() -> None:
    memo = Memo(2)
    audit_hops(WHOLE.messages[:1], TRUST, memo=memo)
    first = WHOLE.messages[0]
    changes: list[dict[str, Any]] = [
        {"subject": subject("human")},
        {"headers": {}},
        {"stored_ms": NOW + 10**7},
        {"data": b"{}"},
    ]
    for change in changes:
        assert audit_hops([replace(first, **change)], TRUST, memo=memo).verified == 0
    assert audit_hops([first], TRUST, memo=memo).verified == 1


def test_the_bounds_are_those_given() -> None:
    tight = audit_hops(WHOLE.messages, TRUST, Limits(max_ttl_ms=1000))
    assert {hop.reason for hop in tight.hops} == {Reason.TTL_TOO_LONG}
    small = audit_hops(WHOLE.messages, TRUST, Limits(max_bytes=100))
    assert {hop.reason for hop in small.hops} == {Reason.TOO_LARGE}


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_no_bytes_raise(wires: list[bytes]) -> None:
    messages = [Message(subject("executor"), wire, {}, number + 1, NOW) for number, wire in enumerate(wires)]
    found = audit(messages)
    assert found.verified == 0
    assert len(found.refused) == len(wires)
    assert found.broken_inside == []


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_children_may_hold_what_their_parent_holds_and_not_one_more(grants: list[int]) -> None:
    history = History()
    plan = history.child(history.intake(), "orchestrator", "evaluator", "plan", PLAN, budget=Amount(actions=60))
    for grant in grants:
        history.child(
            plan,
            "evaluator",
            "orchestrator",
            "observe",
            VERDICT,
            budget=Amount(actions=grant),
        )
    found, left = audit(history.messages), 60
    for hop, grant in zip(found.hops[2:], grants, strict=True):
        assert hop.verified == (grant <= left)
        left -= grant if hop.verified else 0
