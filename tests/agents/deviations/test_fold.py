"""The clocks of deviations, without a broker: what opens one, what is due when, and that no order of events breaks it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.agents.deviations.fold import (
    ALERT_WITHIN_MS,
    DEADLINE_MS,
    HOUR_MS,
    KINDS,
    STATUS_EVERY_MS,
    Detection,
    Event,
    State,
    detected,
    due,
    fold,
    resolved,
)
from interlock.envelope.amounts import time_ms, timestamp

NOW = 1_763_700_000_000


def found(
    kind: Any = "signature_failure", about: str = "role:orchestrator", seen_ms: int = NOW, number: int = 1
) -> Any:
    return Detection(
        kind=kind, about=about, halts=about, evidence=f"HOPS:{number}", detail="it is wrong", seen_ms=seen_ms
    )


def opened(detection: Detection, at_ms: int = NOW, state: State | None = None) -> tuple[State, str]:
    event = detected(state or {}, detection, at_ms)
    assert event is not None
    return fold(state or {}, event), event.id


def test_deadlines_are_those_of_the_governance_table() -> None:
    assert {kind: DEADLINE_MS[kind] // HOUR_MS for kind in KINDS} == {
        "signature_failure": 1,
        "cost_breach": 2,
        "compliance_failure": 4,
        "determinism": 24,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_deviation_is_acted_upon_and_told_at_once_told_again_and_escalated_at_its_deadline(kind: Any) -> None:
    state, name = opened(found(kind))
    told: list[tuple[int, str]] = []
    last_ms = NOW + DEADLINE_MS[kind] + HOUR_MS
    for at_ms in range(NOW, last_ms + 1, ALERT_WITHIN_MS):
        for event in due(state, at_ms):
            state = fold(state, event)
            told.append((at_ms - NOW, event.step))
    steps = [step for _, step in told]
    assert told[:2] == [(0, "acted"), (0, "alerted")]
    assert [at for at, step in told if step == "escalated"] == [DEADLINE_MS[kind]]
    assert steps.count("status") == (last_ms - NOW) // STATUS_EVERY_MS
    assert state[name].escalated_ms == NOW + DEADLINE_MS[kind]


def test_one_of_a_kind_and_subject_is_open_at_a_time() -> None:
    state, _ = opened(found())
    assert detected(state, found(number=2, seen_ms=NOW + 5), NOW + 5) is None
    assert detected(state, found(about="role:executor"), NOW) is not None


def test_what_was_seen_before_the_resolution_is_resolved_and_what_is_seen_later_is_new() -> None:
    state, name = opened(found())
    event = resolved(state, name, "human", "key rotated", "AUDIT:7", NOW + 1000)
    assert event is not None
    state = fold(state, event)
    assert not state[name].is_open and (state[name].by, state[name].why) == ("human", "key rotated")
    assert resolved(state, name, "human", "again", "AUDIT:8", NOW + 2000) is None
    assert detected(state, found(number=2, seen_ms=NOW + 1000), NOW + 3000) is None
    assert detected(state, found(number=3, seen_ms=NOW + 1001), NOW + 3000) is not None
    assert due(state, NOW + 10**9) == []


def test_an_overrun_budget_is_told_once() -> None:
    state, name = opened(found("cost_breach", "goal:g"))
    event = resolved(state, name, "human", "paid", "AUDIT:1", NOW + 1)
    assert event is not None
    assert detected(fold(state, event), found("cost_breach", "goal:g", NOW + 9, 9), NOW + 9) is None


STEPS = st.sampled_from(["opened", "acted", "alerted", "status", "escalated", "resolved"])


@given(st.lists(st.tuples(STEPS, st.integers(0, 10**9), st.sampled_from(["d-a", "d-b"])), max_size=30))
def test_whatever_events_come_a_closed_deviation_stays_as_it_was_closed(steps: list[tuple[Any, int, str]]) -> None:
    state: State = {}
    closed: State = {}
    for step, after_ms, name in steps:
        event = Event(id=name, step=step, at=timestamp(NOW + after_ms), kind="determinism", about="workspace")
        state = fold(state, event)
        closed |= {one.id: one for one in state.values() if not one.is_open and one.id not in closed}
        assert {key: state[key] for key in closed} == closed
        assert all(one.opened_ms >= NOW for one in state.values())


def test_the_deadline_is_told_in_minutes() -> None:
    state, _ = opened(found())
    alert = next(event for event in due(state, NOW + 1) if event.step == "alerted")
    assert time_ms(alert.at) == NOW + 1
    assert "59 min left" in alert.detail
