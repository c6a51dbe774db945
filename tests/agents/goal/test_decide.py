"""The fold of a goal: whatever the plan, the results and their order, it ends, within bounds, and repeats itself."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.agents.goal.decide import UNDELIVERABLE, Decider
from interlock.agents.goal.gates import load_gates
from interlock.agents.goal.state import (
    AnyEvent,
    Audited,
    Began,
    DeadlinePassed,
    Escalated,
    GoalState,
    Learned,
    Reviewed,
    Send,
    Verified,
)
from interlock.envelope.amounts import Amount, Budget
from interlock.envelope.children import Origin
from interlock.envelope.ids import new_id
from interlock.envelope.model import PolicyContext
from interlock.envelope.payloads import (
    ArtefactRef,
    AuditReport,
    Completion,
    DecisionName,
    Escalation,
    Finding,
    Ground,
    Intake,
    KnowledgePack,
    PlanDraft,
    PlanVerdict,
    RiskAssessment,
    Stakeholder,
    Task,
    TaskResult,
    TaskSpec,
    Usage,
    Verification,
)

NOW = 1_763_700_000_000
GATES = load_gates(Path(__file__).parents[3] / "config" / "gates.yaml")
BUDGET = Amount(10_000, 1_000_000, 10_000_000, 10_000)
KNOWLEDGE_FILE = ArtefactRef(name="knowledge_pack.md", digest="0" * 64, size=1)


def origin(budget: Amount = BUDGET, number: int = 1) -> Origin:
    return Origin(
        id=new_id(NOW, bytes([number] * 10)),
        digest="a" * 64,
        workspace="default",
        goal_id=new_id(NOW, b"g" * 10),
        trace_id="b" * 32,
        deadline_ms=NOW + 600_000,
        budget=budget,
        risk_tier="minimal",
        policy_context=PolicyContext(policy_bundle="", contract_ref="", capabilities=["skill:*"]),
        compliance_tags=[],
    )


def intake(**more: Any) -> Intake:
    return Intake(
        goal="prove it",
        constraints=[],
        stakeholders=[Stakeholder(name="Ada")],
        success_metrics=["it ends"],
        budget_limits=BUDGET.budget,
        **more,
    )


def began(tasks: list[TaskSpec], release: TaskSpec | None = None, **more: Any) -> Began:
    goal = intake(**more)
    draft = PlanDraft(source="tasks", playbook="", tasks=tasks, release=release, intake=goal, confidence=1000)
    return Began(cause="intake", at_ms=NOW, origin=origin(), intake=goal, draft=draft)


def reviewed(decision: DecisionName = "allow", grounds: list[Ground] | None = None) -> Reviewed:
    risk = RiskAssessment(tier="minimal", reasons=["none"], oversight="none")
    facts = {
        "plan_problems": 0,
        "plan_within_budget": True,
        "plan_confidence": 1000,
        "injection_findings": 0,
        "risk_assessed": True,
        "capabilities_held": True,
    }
    gates = [
        GATES.outcome("G1", facts, "2026-01-01T00:00:00.000Z"),
        GATES.outcome("G2", facts, "2026-01-01T00:00:00.000Z"),
    ]
    verdict = PlanVerdict(
        decision=decision,
        grounds=grounds or [],
        risk=risk,
        gates=gates,
        estimated_cost_usd="0",
        cost_ceiling_usd="1",
    )
    return Reviewed(cause="verdict", at_ms=NOW + 1, origin=origin(number=2), verdict=verdict)


def verified(
    task: Task, *, outcome: str = "done", retryable: bool = False, rejected: str = "", **more: Any
) -> Verified:
    """rejected: why the evaluator does not take a result that was done."""
    result = TaskResult(
        task_id=task.task_id,
        attempt=task.attempt,
        skill=task.skill,
        skill_digest="d",
        outcome=outcome,
        detail="" if outcome == "done" else "it went wrong",
        retryable=retryable,
        usage=Usage(wall_ms=5),
        cost_usd="0.000001",
        carbon_grams="0.000001",
        **more,
    )
    allow = outcome == "done" and not rejected
    why = Ground(code="output_invalid", message=rejected) if rejected else Ground(code=outcome, message="it went wrong")
    verification = Verification(
        decision="allow" if allow else "deny",
        grounds=[] if allow else [why],
        result=result,
        result_id=new_id(NOW, task.task_id.encode().ljust(10, b".")[:10]),
        confidence=1000 if allow else 0,
    )
    return Verified(cause=f"{task.task_id}:{task.attempt}", at_ms=NOW + 2, verification=verification, attestations=[])


def audited(decision: DecisionName = "allow") -> Audited:
    report = AuditReport(
        decision=decision,
        grounds=[] if decision == "allow" else [Ground(code="hops_unverified", message="one hop did not verify")],
        hops=3,
        verified=3,
        refused=[],
        scores={"signatures": 1000},
        gates=[],
        files=[],
    )
    return Audited(cause="audit", at_ms=NOW + 3, report=report)


LEARNED = Learned(
    cause="pack",
    at_ms=NOW + 4,
    pack=KnowledgePack(lessons=["a"], backlog=[], next_steps=[], gates=[], files=[KNOWLEDGE_FILE]),
)


class World:
    """Answers every command as the other roles would; `outcome_of` decides how tasks end."""

    def __init__(
        self,
        first: Began,
        outcome_of: Callable[[Task], dict[str, Any]] | None = None,
        order: random.Random | None = None,
    ) -> None:
        self.state = GoalState()
        self.events: list[AnyEvent] = []
        self.sent: list[Send] = []
        self.outcome_of = outcome_of or (lambda task: {})
        self.order = order
        self.queue: list[AnyEvent] = [first]

    def run(self, review: Reviewed | None = None, audit: Audited | None = None) -> Completion:
        while self.queue:
            index = self.order.randrange(len(self.queue)) if self.order else 0
            event = self.queue.pop(index)
            self.events.append(event)
            for send in Decider(GATES).apply(self.state, event):
                self.sent.append(send)
                answer = self.answer(send.draft.payload, review, audit)
                if answer is not None:
                    self.queue.append(answer)
        assert self.state.completion is not None, "the goal did not end"
        return self.state.completion

    def answer(self, payload: object, review: Reviewed | None, audit: Audited | None) -> AnyEvent | None:
        if isinstance(payload, PlanDraft):
            return review or reviewed()
        if isinstance(payload, Task):
            return verified(payload, **self.outcome_of(payload))
        answers: dict[str, AnyEvent] = {"AuditRequest": audit or audited(), "KnowledgeRequest": LEARNED}
        return answers.get(type(payload).__name__)

    def tasks(self) -> list[Task]:
        return [send.draft.payload for send in self.sent if isinstance(send.draft.payload, Task)]


def test_a_chain_runs_in_order_and_is_released() -> None:
    world = World(began([TaskSpec(id="b", skill="s", after=["a"]), TaskSpec(id="a", skill="s")]))
    completion = world.run()
    assert [task.task_id for task in world.tasks()] == ["a", "b"]
    assert completion.outcome == "released"
    assert [gate.gate for gate in completion.gates] == [f"G{n}" for n in range(9)]
    assert all(gate.passed for gate in completion.gates), [g for g in completion.gates if not g.passed]


def test_fan_out_and_join_hand_over_outputs_in_order() -> None:
    tasks = [
        TaskSpec(id="each", skill="s", each="${inputs.items}", input={"x": "${item}", "n": "${index}"}),
        TaskSpec(id="join", skill="s", after=["each"], input={"all": "${tasks.each.outputs}"}),
    ]
    world = World(
        began(tasks, inputs={"items": ["p", "q", "r"]}),
        outcome_of=lambda task: {"output": {"got": task.input.get("x", "")}},
        order=random.Random(7),
    )
    assert world.run().outcome == "released"
    join = world.tasks()[-1]
    assert join.input == {"all": [{"got": "p"}, {"got": "q"}, {"got": "r"}]}
    assert sorted(task.task_id for task in world.tasks()) == ["each.0", "each.1", "each.2", "join"]


def test_an_empty_fan_out_is_done_at_once() -> None:
    tasks = [TaskSpec(id="each", skill="s", each="${inputs.items}"), TaskSpec(id="join", skill="s", after=["each"])]
    world = World(began(tasks, inputs={"items": []}))
    assert world.run().outcome == "released"
    assert [task.task_id for task in world.tasks()] == ["join"]


def test_a_retryable_failure_is_tried_again_and_a_final_one_ends_the_goal() -> None:
    flaky = World(
        began([TaskSpec(id="a", skill="s")]),
        outcome_of=lambda task: {} if task.attempt == 3 else {"outcome": "host_lost", "retryable": True},
    )
    assert flaky.run().outcome == "released"
    assert [task.attempt for task in flaky.tasks()] == [1, 2, 3]
    broken = World(
        began([TaskSpec(id="a", skill="s"), TaskSpec(id="b", skill="s", after=["a"])]),
        lambda _: {"outcome": "skill_error"},
    )
    completion = broken.run()
    assert completion.outcome == "failed"
    assert [task.task_id for task in broken.tasks()] == ["a"]
    assert "it went wrong" in completion.grounds[0].message


@pytest.mark.parametrize(
    ("end", "code", "message"),
    [
        ({"outcome": "skill_error"}, "skill_error", "it went wrong"),
        ({"rejected": "$.a: is missing"}, "output_invalid", "$.a: is missing"),
    ],
)
def test_why_a_task_failed_stands_once_with_its_name(end: dict[str, Any], code: str, message: str) -> None:
    completion = World(began([TaskSpec(id="a", skill="s")]), lambda _: end).run()
    told = [(ground.code, ground.message) for ground in completion.grounds if message in ground.message]
    assert told == [(code, f"task a: {message}")]


@pytest.mark.parametrize(
    ("review", "audit", "outcome", "ground"),
    [
        (reviewed("deny", [Ground(code="injection", message="no")]), None, "blocked", "injection"),
        (None, audited("deny"), "blocked", "hops_unverified"),
    ],
)
def test_governance_blocks(review: Reviewed | None, audit: Audited | None, outcome: str, ground: str) -> None:
    world = World(began([TaskSpec(id="a", skill="s")]))
    completion = world.run(review, audit)
    assert completion.outcome == outcome
    assert ground in [entry.code for entry in completion.grounds]


def test_a_blocking_finding_blocks_but_the_release_task_still_runs() -> None:
    finding = Finding(id="secret", severity="critical", message="a key", blocks=True)
    sealed = ArtefactRef(name="deliverable_bundle.zip", digest="1" * 64, size=1)
    world = World(
        began([TaskSpec(id="a", skill="s")], TaskSpec(id="release", skill="s", input={"gates": "${gates}"})),
        lambda task: {"findings": [finding]} if task.task_id == "a" else {"deliverable": sealed},
    )
    completion = world.run()
    assert completion.outcome == "blocked"
    assert completion.deliverable == sealed
    assert completion.findings == [finding]
    assert world.tasks()[-1].seal
    assert [gate["gate"] for gate in world.tasks()[-1].input["gates"]] == ["G0", "G1", "G2", "G3", "G4", "G5"]


def test_a_deadline_and_an_undeliverable_hop_end_the_goal_once() -> None:
    for event, code in (
        (DeadlinePassed(cause="deadline", at_ms=NOW + 9), "deadline"),
        (
            Escalated(
                cause="x", at_ms=NOW + 9, sender="evaluator", escalation=Escalation(code=UNDELIVERABLE, question="q")
            ),
            UNDELIVERABLE,
        ),
    ):
        state, decider = GoalState(), Decider(GATES)
        decider.apply(state, began([TaskSpec(id="a", skill="s")]))
        decider.apply(state, reviewed())
        sends = decider.apply(state, event)
        assert [type(send.draft.payload).__name__ for send in sends] == ["Completion"]
        assert state.completion is not None
        assert state.completion.outcome == "failed"
        assert state.completion.grounds[-1].code == code
        assert decider.apply(state, event) == []


def test_a_task_that_cannot_be_paid_or_resolved_is_reported() -> None:
    poor = World(began([TaskSpec(id="a", skill="s", budget=Budget(cost_usd="2", actions=1))]))
    assert poor.run().outcome == "blocked"
    lost = World(began([TaskSpec(id="a", skill="s", input={"x": "${inputs.none}"})]))
    completion = lost.run()
    assert completion.outcome == "failed"
    assert "there is no `none`" in completion.grounds[0].message


@st.composite
def plans(draw: st.DrawFn) -> list[TaskSpec]:
    count = draw(st.integers(1, 12))
    tasks = []
    for index in range(count):
        before = draw(st.lists(st.integers(0, index - 1), max_size=3, unique=True)) if index else []
        fans = draw(st.booleans())
        tasks.append(
            TaskSpec(id=f"t{index}", skill="s", after=[f"t{n}" for n in before], each="${inputs.items}" if fans else "")
        )
    return draw(st.permutations(tasks))


@settings(deadline=None)
@given(plans(), st.integers(0, 2**32), st.integers(0, 5), st.floats(0, 0.4))
def test_every_plan_ends_within_its_budget_and_replays(
    tasks: list[TaskSpec], seed: int, items: int, failing: float
) -> None:
    chance = random.Random(seed)

    def outcome_of(_: Task) -> dict[str, Any]:
        if chance.random() >= failing:
            return {}
        return chance.choice([{"outcome": "host_lost", "retryable": True}, {"outcome": "skill_error"}])

    world = World(began(tasks, inputs={"items": list(range(items))}), outcome_of, random.Random(seed + 1))
    completion = world.run()
    if completion.outcome == "blocked":  # nothing ran at all, or there was no money left for another attempt
        assert completion.tasks_total == 0 or "over_budget" in [ground.code for ground in completion.grounds]
    # The children of the mandate never hold more than it.
    granted = Amount()
    for send in world.sent:
        if send.parent.id == origin(number=2).id:
            assert send.granted == granted or send.draft.budget.is_zero
            granted = granted + send.draft.budget
    assert granted.within(BUDGET)
    # No task runs before what it waits for, and none twice at the same attempt.
    keys = [(task.task_id, task.attempt) for task in world.tasks()]
    assert len(keys) == len(set(keys))
    # The same events give the same commands: what recovery and replay rely on.
    again = GoalState()
    sent = [send for event in world.events for send in Decider(GATES).apply(again, event)]
    assert msgspec.json.encode(sent) == msgspec.json.encode(world.sent)
    # A late or repeated event changes nothing.
    for event in world.events[1:]:
        assert Decider(GATES).apply(again, event) == []
