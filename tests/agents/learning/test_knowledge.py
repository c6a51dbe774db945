"""What a goal teaches: each line follows from the request, and nothing is said where there is nothing to say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.agents.learning.knowledge import knowledge_pack, learn
from interlock.agents.learning.synthesizer import SynthesizerRole
from interlock.bus.clock import ManualClock
from interlock.bus.hop import DONE, Hop, Refusal
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.sender import Identity, Sender
from interlock.bus.streams import declarations
from interlock.envelope.amounts import Budget
from interlock.envelope.payloads import Escalation, Finding, GateOutcome, KnowledgePack, KnowledgeRequest, TaskSummary
from interlock.envelope.verification import decode
from tests.agents.audit.histories import GATE, GOAL, KEYS, WORKSPACE, goal_history

AT = "2026-01-02T03:04:05.678Z"


def task(name: str, **more: Any) -> TaskSummary:
    fields: dict[str, Any] = {
        "skill": f"{name}-skill",
        "after": [],
        "status": "done",
        "attempt": 1,
        "cost_usd_micro": 0,
        "wall_ms": 0,
        "tokens": 0,
        "confidence": 1000,
    }
    return TaskSummary(id=name, **fields | more)


def request(**more: Any) -> KnowledgeRequest:
    fields: dict[str, Any] = {
        "goal": "prove it",
        "outcome": "released",
        "tasks": [],
        "findings": [],
        "gates": [GATE],
        "scores": {},
        "cost_usd": "0",
        "budget": Budget(),
    }
    return KnowledgeRequest(**fields | more)


def test_an_uneventful_goal_teaches_one_line() -> None:
    found = learn(request())
    assert found.lessons == ["0 of 0 tasks were done; the goal stands at released."]
    assert (found.backlog, found.next_steps) == ([], [])
    text = knowledge_pack(request(), found, GOAL, AT)
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## Lessons"]


LESSONS = [
    ({"tasks": [task("a", status="failed", detail="boom")]}, "Task a (a-skill) failed: boom"),
    ({"tasks": [task("a", attempt=3)]}, "Task a (a-skill) needed 3 attempts."),
    (
        {"tasks": [task("a", wall_ms=30), task("b", wall_ms=70)]},
        "Task b (b-skill) took 70 ms of run time, 70 % of all tasks.",
    ),
    (
        {"tasks": [task("a", cost_usd_micro=90), task("b", cost_usd_micro=10)], "tasks_total": 9},
        "Task a (a-skill) took 90 micro-USD, 90 % of the 2 tasks reported.",
    ),
    ({"cost_usd": "0.3", "budget": Budget(cost_usd="1")}, "0.3 USD were spent, 30 % of the budget."),
    ({"scores": {"gates": 849, "graph": 850}}, "The score for gates is 849 of 1000."),
    (
        {"findings": [Finding(id="x", severity="low", message="m"), Finding(id="y", severity="high", message="n")]},
        "2 finding(s): 1 high, 1 low.",
    ),
]


@pytest.mark.parametrize(("more", "line"), LESSONS, ids=[line for _, line in LESSONS])
def test_a_lesson_where_there_is_one(more: dict[str, Any], line: str) -> None:
    found = learn(request(**more)).lessons
    assert line in found
    assert len(found) == 2
    assert line not in learn(request()).lessons


def test_the_backlog_begins_with_what_blocks_and_leaves_out_what_asks_for_nothing() -> None:
    findings = [
        Finding(id=f"f-{severity}", severity=severity, message="m")
        for severity in ("info", "low", "high", "medium", "critical")
    ]
    findings.append(Finding(id="b", severity="low", message="stop", file="a.py", line=3, blocks=True))
    found = learn(request(findings=findings)).backlog
    assert found == [
        "[low, blocks] stop (a.py:3)",
        "[critical] m",
        "[high] m",
        "[medium] m",
        "[low] m",
    ]


def test_next_steps_name_who_and_what() -> None:
    failed = GateOutcome(
        gate="G4",
        name="Testing",
        owner="QA Lead",
        passed=False,
        criteria=["c"],
        evidence=["holds: x", "fails: y = 1"],
        at=AT,
    )
    findings = [
        Finding(id="a", severity="high", message="m", blocks=True),
        Finding(id="b", severity="critical", message="m"),
    ]
    tasks = [task("a", wall_ms=90), task("b", wall_ms=5, attempt=2), task("c", wall_ms=5)]
    steps = learn(
        request(gates=[GATE, failed], findings=findings, tasks=tasks, cost_usd="0.8", budget=Budget(cost_usd="1"))
    ).next_steps
    assert steps == [
        "Resolve the 1 finding(s) that block release, then submit the goal again.",
        "QA Lead: gate G4 (Testing) failed on y = 1.",
        "Plan the 1 serious finding(s) that do not block into the next release.",
        "Raise the budget of 1 USD or plan less: little of it was left.",
        "Find out why task b (b-skill) needed 2 attempts.",
        "Look at a-skill first when the goal has to get faster.",
    ]
    thrifty = learn(request(cost_usd="0.79", budget=Budget(cost_usd="1")))
    assert thrifty.next_steps == []


@given(st.text(max_size=60), st.integers(0, 100))
def test_any_request_is_told_in_bounded_inert_lines(text: str, count: int) -> None:
    tasks = [task("a", status="failed", detail=text)] * count
    findings = [Finding(id="x", severity="high", message=text, file=text)] * count
    asked = request(goal=text, tasks=tasks, findings=findings)
    found = learn(asked)
    assert len(found.lessons) <= 40 >= len(found.backlog)
    pack = knowledge_pack(asked, found, GOAL, AT)
    assert all(line == "" or line[0] in "#-" for line in pack.splitlines())
    assert pack.isprintable() or {character for character in pack if not character.isprintable()} == {"\n"}


@pytest.mark.anyio
async def test_the_synthesizer_answers_with_the_pack_and_its_file() -> None:
    clock = ManualClock()
    transport = MemoryTransport(clock)
    await transport.declare(declarations((WORKSPACE,)))
    role = SynthesizerRole(transport, Sender(transport, Identity("synthesizer", KEYS["synthesizer"])))
    history = goal_history(1)
    asked = history.child(history.sealed[2], "orchestrator", "synthesizer", "act", request(scores={"gates": 1}))
    hop = Hop(history.messages[-1], clock.now_ms())
    hop.envelope, hop.digest = asked.envelope, asked.digest
    for _ in range(2):  # a redelivery says the same, once
        assert await role.handle(hop) is DONE
    answers = [message async for message in transport.read("HOPS", [">"])]
    assert len(answers) == 1
    answer = decode(answers[0].data).envelope
    assert answer is not None
    assert answer.parent_id == asked.envelope.id
    assert isinstance(answer.payload, KnowledgePack)
    assert "The score for gates is 1 of 1000." in answer.payload.lessons
    stored = await transport.get_object("artifacts", answer.payload.files[0].digest)
    assert stored.startswith(b"# Knowledge pack")
    hop.envelope = history.child(
        history.sealed[2], "orchestrator", "human", "escalate", Escalation(code="x", question="?")
    ).envelope
    with pytest.raises(Refusal, match="wrong_payload"):
        await role.handle(hop)
