"""Approvals in the fold: races, double deciders, time running out, and that the same events end the same way."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from interlock.agents.goal.approving import objection
from interlock.agents.goal.decide import Decider
from interlock.agents.goal.state import AnyEvent, ApprovalTimedOut, DeadlinePassed, Decided, GoalState, Send
from interlock.envelope.amounts import time_ms
from interlock.envelope.approval import ApprovalTerms
from interlock.envelope.payloads import ApprovalRequest, Completion, Ground, Task, TaskSpec
from tests.agents.goal.test_decide import GATES, NOW, World, began, reviewed, verified

TASKS = [TaskSpec(id="a", skill="s"), TaskSpec(id="b", skill="s", after=["a"])]
RISKY = reviewed("needs_approval", [Ground(code="risk_tier", message="it is risky")])


def asked_for(*names: str) -> Any:
    plain = reviewed()
    return replace(plain, verdict=replace(plain.verdict, approvals=list(names)))


def waiting(
    review: Any = RISKY, *, needed: int = 1, timeout_ms: int = 60_000, **more: Any
) -> tuple[GoalState, list[Send]]:
    """A goal that waits for an approval, and what it has sent for it."""
    first = replace(began(TASKS, **more), terms=ApprovalTerms(needed=needed, timeout_ms=timeout_ms))
    state = GoalState()
    Decider(GATES).apply(state, first)
    return state, Decider(GATES).apply(state, review)


def request_of(sends: list[Send]) -> ApprovalRequest:
    (payload,) = [send.draft.payload for send in sends if isinstance(send.draft.payload, ApprovalRequest)]
    return payload


def decided(
    request: ApprovalRequest, decider: str = "human.ada", *, allows: bool = True, at_ms: int = NOW + 10, **more: Any
) -> Decided:
    settings_: dict[str, Any] = {
        "cause": f"{decider}:{allows}",
        "at_ms": at_ms,
        "approval_id": request.approval_id,
        "decider": decider,
        "capabilities": ["approve:*"],
        "by": decider,
        "allows": allows,
        "reason": "because",
        "action_digest": request.action_digest,
        "wire": f"signed by {decider}",
    }
    return Decided(**settings_ | more)


def timed_out(request: ApprovalRequest, at_ms: int | None = None) -> ApprovalTimedOut:
    due = time_ms(request.expires_at) if at_ms is None else at_ms
    return ApprovalTimedOut(cause=f"timeout:{request.approval_id}", at_ms=due, approval_id=request.approval_id)


def task_of(send: Send) -> Task:
    assert isinstance(send.draft.payload, Task)
    return send.draft.payload


def kinds(sends: list[Send]) -> list[str]:
    return [type(send.draft.payload).__name__ for send in sends]


def codes(state: GoalState) -> list[str]:
    return [ground.code for ground in state.grounds]


def test_nothing_starts_before_the_approval_and_all_of_it_carries_the_evidence() -> None:
    state, sends = waiting()
    assert kinds(sends) == ["ApprovalRequest"]
    assert state.phase == "approval"
    request = request_of(sends)
    (task,) = Decider(GATES).apply(state, decided(request))
    assert isinstance(task.draft.payload, Task) and task.draft.payload.approvals is not UNSET
    (evidence,) = task.draft.payload.approvals
    assert evidence.decisions == ["signed by human.ada"]
    assert evidence.arguments == request.arguments
    (following,) = Decider(GATES).apply(state, verified(task.draft.payload))
    assert task_of(following).approvals == [evidence]


def test_the_request_ends_with_its_time_or_with_its_goal() -> None:
    _, soon = waiting(timeout_ms=60_000)
    assert time_ms(request_of(soon).expires_at) == NOW + 1 + 60_000
    assert soon[0].draft.ttl_ms == 60_000
    _, late = waiting(timeout_ms=3_600_000)
    assert time_ms(request_of(late).expires_at) == NOW + 570_000  # the goal's envelopes die at 600,000


@pytest.mark.parametrize(
    ("event", "code", "told"),
    [
        (lambda request: decided(request, allows=False), "approval_denied", "denied by human.ada: because"),
        (timed_out, "approval_timed_out", "timed out at"),
        (lambda request: decided(request, at_ms=time_ms(request.expires_at)), "approval_timed_out", "timed out at"),
        (
            lambda request: DeadlinePassed(cause="deadline", at_ms=time_ms(request.expires_at)),
            "approval_timed_out",
            "0 of 1",
        ),
    ],
)
def test_without_approval_the_goal_ends_blocked_and_says_which_of_the_two_it_was(
    event: Any, code: str, told: str
) -> None:
    state, sends = waiting()
    assert kinds(Decider(GATES).apply(state, event(request_of(sends)))) == ["Completion"]
    assert state.completion is not None
    assert state.completion.outcome == "blocked"
    assert told in next(ground.message for ground in state.grounds if ground.code == code)
    assert {"approval_denied", "approval_timed_out"} & set(codes(state)) == {code}


def test_whoever_comes_first_wins_the_race_and_the_other_changes_nothing() -> None:
    for first, second, running in ((decided, timed_out, True), (timed_out, decided, False)):
        state, sends = waiting()
        request = request_of(sends)
        Decider(GATES).apply(state, first(request))
        before = msgspec.json.encode(state.approvals[request.approval_id].votes)
        assert Decider(GATES).apply(state, second(request)) == []
        assert (state.phase == "running") is running
        assert msgspec.json.encode(state.approvals[request.approval_id].votes) == before


def test_a_reminder_before_its_time_ends_nothing() -> None:
    state, sends = waiting()
    request = request_of(sends)
    assert Decider(GATES).apply(state, timed_out(request, time_ms(request.expires_at) - 1)) == []
    assert state.phase == "approval"


def test_two_of_two_means_two_different_humans() -> None:
    state, sends = waiting(needed=2)
    request = request_of(sends)
    assert Decider(GATES).apply(state, decided(request)) == []
    again = decided(request, cause="again", by="human.another-name")
    assert Decider(GATES).apply(state, again) == []
    assert state.phase == "approval"
    (task,) = Decider(GATES).apply(state, decided(request, "human.bob"))
    approvals = task_of(task).approvals
    assert approvals is not UNSET
    assert approvals[0].decisions == ["signed by human.ada", "signed by human.bob"]


def test_one_refusal_outweighs_all_approvals() -> None:
    state, sends = waiting(needed=3)
    request = request_of(sends)
    Decider(GATES).apply(state, decided(request))
    Decider(GATES).apply(state, decided(request, "human.bob", allows=False))
    assert state.phase == "ended"
    assert Decider(GATES).apply(state, decided(request, "human.eve")) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"action_digest": "0" * 64}, "another action"),
        ({"approval_id": "01a1fd26-f4ef-7717-b189-d5432b15bd48"}, "no approval"),
        ({"capabilities": ["approve:task.run"]}, "does not hold approve:plan.start"),
        ({"capabilities": []}, "does not hold"),
    ],
)
def test_a_decision_that_is_not_on_this_never_counts(change: dict[str, Any], told: str) -> None:
    state, sends = waiting()
    event = decided(request_of(sends), **change)
    assert told in objection(state, event)
    assert Decider(GATES).apply(state, event) == []
    assert state.phase == "approval"
    assert objection(state, decided(request_of(sends))) == ""


def test_the_digest_is_that_of_exactly_this_plan_and_budget() -> None:
    digests = {request_of(waiting(**more)[1]).action_digest for more in ({}, {"inputs": {"x": 1}}, {"seed": 1})}
    assert len(digests) == 3
    poorer = began(TASKS)
    state = GoalState()
    Decider(GATES).apply(state, poorer)
    origin = replace(RISKY.origin, budget=replace(RISKY.origin.budget, actions=1))
    other = request_of(Decider(GATES).apply(state, replace(RISKY, origin=origin)))
    assert other.action_digest not in digests


def test_a_task_waits_alone_while_others_run_and_keeps_what_it_may_spend() -> None:
    state = GoalState()
    Decider(GATES).apply(state, began([TaskSpec(id="a", skill="s"), TaskSpec(id="b", skill="s")]))
    sends = Decider(GATES).apply(state, asked_for("b"))
    assert kinds(sends) == ["Task", "ApprovalRequest"]
    assert state.tasks["b"].status == "waiting_approval"
    assert not state.tasks["b"].grant.is_zero
    assert Decider(GATES).apply(state, verified(task_of(sends[0]))) == []
    assert state.phase == "running"
    (task,) = Decider(GATES).apply(state, decided(request_of(sends), at_ms=NOW + 5_000))
    payload = task_of(task)
    assert time_ms(payload.now) == NOW + 5_000
    assert payload.approvals is not UNSET
    assert payload.approvals[0].approval_id == request_of(sends).approval_id
    assert (task.granted + task.draft.budget).within(task.parent.budget)
    assert kinds(Decider(GATES).apply(state, verified(payload))) == ["AuditRequest"]


def test_a_rejected_task_fails_the_goal_as_blocked() -> None:
    state, sends = waiting(asked_for("a"))
    sends = Decider(GATES).apply(state, decided(request_of(sends), allows=False))
    assert kinds(sends) == ["AuditRequest"]
    assert "denied by human.ada: because" in state.tasks["a"].detail
    assert codes(state) == ["approval_denied"]


def test_every_attempt_is_asked_for_again() -> None:
    state, sends = waiting(asked_for("a"))
    first = request_of(sends)
    (task,) = Decider(GATES).apply(state, decided(first))
    lost = verified(task_of(task), outcome="host_lost", retryable=True)
    second = request_of(Decider(GATES).apply(state, lost))
    assert second.approval_id != first.approval_id
    assert Decider(GATES).apply(state, decided(first, cause="replayed")) == []
    assert kinds(Decider(GATES).apply(state, decided(second, cause="anew"))) == ["Task"]


def test_when_a_goal_has_failed_nobody_is_asked_any_more() -> None:
    state = GoalState()
    Decider(GATES).apply(state, began([TaskSpec(id="a", skill="s"), TaskSpec(id="b", skill="s")]))
    sends = Decider(GATES).apply(state, asked_for("b"))
    after = Decider(GATES).apply(state, verified(task_of(sends[0]), outcome="skill_error"))
    assert kinds(after) == ["AuditRequest"]
    assert state.approvals[request_of(sends).approval_id].state == "withdrawn"
    assert Decider(GATES).apply(state, decided(request_of(sends))) == []


@settings(deadline=None)
@given(st.data(), st.integers(1, 3), st.integers(0, 2**32))
def test_whatever_comes_in_whatever_order_it_replays_to_the_same_end(
    data: st.DataObject, needed: int, seed: int
) -> None:
    first = replace(began(TASKS), terms=ApprovalTerms(needed=needed, timeout_ms=1_000))
    state, sent, events = GoalState(), [], []

    def happen(event: AnyEvent) -> list[Send]:
        events.append(event)
        sends = Decider(GATES).apply(state, event)
        sent.append(sends)
        return sends

    happen(first)
    pending = [request_of(happen(RISKY))]
    chance = random.Random(seed)
    steps = st.sampled_from(["yes", "no", "late", "time", "result"])
    for number in range(data.draw(st.integers(1, 12))):
        step, request = data.draw(steps), chance.choice(pending)
        human = chance.choice(["human.ada", "human.bob", "human.eve"])
        running = [task.held or task for task in state.running.values()]
        if step == "time":
            happen(timed_out(request))
        elif step == "result" and running:
            last = [send.draft.payload for sends in sent for send in sends if isinstance(send.draft.payload, Task)][-1]
            happen(verified(last))
        else:
            at_ms = time_ms(request.expires_at) + (5 if step == "late" else -5)
            happen(decided(request, human, allows=step == "yes", at_ms=at_ms, cause=f"c{number}"))
    again = GoalState()
    replayed = [
        Decider(GATES).apply(again, event)
        for event in msgspec.json.decode(msgspec.json.encode(events), type=list[AnyEvent])
    ]
    assert msgspec.json.encode(replayed) == msgspec.json.encode(sent)
    approval = state.approvals[pending[0].approval_id]
    started = [send for sends in sent for send in sends if isinstance(send.draft.payload, Task)]
    assert bool(started) == (approval.state == "approved")
    if approval.state == "approved":
        assert len({vote.decider for vote in approval.votes}) == needed
        assert all(vote.allows and vote.at_ms < approval.expires_ms for vote in approval.votes)
    completions = [send for sends in sent for send in sends if isinstance(send.draft.payload, Completion)]
    assert len(completions) <= 1


def test_a_whole_goal_with_an_approved_plan_is_released() -> None:
    world = World(began(TASKS))
    answer = world.answer
    world.answer = lambda payload, review, audit: (  # type: ignore[method-assign]  # a double
        decided(payload) if isinstance(payload, ApprovalRequest) else answer(payload, review, audit)
    )
    assert world.run(RISKY).outcome == "released"
