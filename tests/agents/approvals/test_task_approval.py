"""Tasks whose skill runs only with approval: the executor believes humans' signatures and nothing else."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import msgspec
import pytest
from msgspec import UNSET
from msgspec.structs import replace

from interlock.agents.approvals.evidence import ApprovalCheck
from interlock.agents.goal.state import Send
from interlock.agents.orchestration.granting import with_grants
from interlock.agents.wiring import running
from interlock.bus.sender import Sender
from interlock.envelope.amounts import Amount, clock_ms
from interlock.envelope.approval import ApprovalTerms
from interlock.envelope.children import Draft, origin_of
from interlock.envelope.model import Envelope
from interlock.envelope.payloads import Approval, Task, TaskResult
from interlock.envelope.verification import Limits, decode
from tests.agents.approvals.humans import asked, decide, told

pytestmark = pytest.mark.anyio
RISKY_HINTS = {"employment_decisions": True, "human_oversight": True, "transparency": True}
ROLES = ("gateway", "orchestrator", "evaluator", "executor", "auditor", "synthesizer")


def writing(house: Any, **more: Any) -> dict[str, Any]:
    line = {"id": "a", "skill": "approved-line", "input": {"place": str(house.scratch), "line": "once"}}
    goal: dict[str, Any] = house.goal([line], **more)
    return goal


def lines(house: Any) -> list[str]:
    path: Path = house.scratch / "lines.txt"
    return path.read_text().splitlines() if path.exists() else []


async def hops(house: Any, role: str, goal_id: str, intent: str) -> list[Envelope]:
    found = [decode(message.data).envelope for message in await house.messages("HOPS", "role", role, goal_id, intent)]
    return [envelope for envelope in found if envelope is not None]


async def test_two_of_many_must_approve_before_the_effect_and_it_happens_once(quiet_house: Any) -> None:
    house = quiet_house
    async with AsyncExitStack() as stack:
        for role in ROLES:
            await stack.enter_async_context(running(role, house.parts(role, approvals=ApprovalTerms(needed=2))))
        goal_id = (await house.submit(writing(house)))["goalId"]
        pending = await asked(house, goal_id)
        assert (pending.operation, pending.target, pending.needed) == ("task.run", f"{goal_id}/a", 2)
        await decide(house, pending, "human.ada")
        await house.until("HOPS", 1, "role", "orchestrator", goal_id, "observe")
        # Her second vote and Eve's, who may start plans only, are none.
        await decide(house, pending, "human.eve")
        await house.until("DEAD", 1, "dead", "orchestrator", ">")
        assert lines(house) == []
        await decide(house, pending, "human.bob")
        status = await house.ended(goal_id)
        assert status.outcome == "released", status.grounds
        assert lines(house) == ["once"]
        assert [one.by for one in (await told(house, pending, "approved")).decisions] == ["human.ada", "human.bob"]
        used = await house.messages("JOURNAL", "journal", "effect", pending.approval_id)
        assert [msgspec.json.decode(record.data)["type"] for record in used] == ["approval_used"]


async def test_a_rejected_task_leaves_no_effect(house: Any) -> None:
    goal_id = (await house.submit(writing(house)))["goalId"]
    await decide(house, await asked(house, goal_id), allows=False, reason="not there")
    status = await house.ended(goal_id)
    assert status.outcome == "blocked"
    assert "denied by human: not there" in status.grounds[0].message
    assert lines(house) == []


async def test_a_risky_goal_with_such_a_task_asks_twice(house: Any) -> None:
    goal_id = (await house.submit(writing(house, risk_hints=RISKY_HINTS)))["goalId"]
    await decide(house, await asked(house, goal_id))
    await decide(house, await asked(house, goal_id, 2))
    status = await house.ended(goal_id)
    assert status.outcome == "released", status.grounds
    (act,) = await hops(house, "executor", goal_id, "act")
    assert isinstance(act.payload, Task) and act.payload.approvals is not UNSET
    assert [approval.operation for approval in act.payload.approvals] == ["plan.start", "task.run"]


class Hijacked:
    """Whoever has the orchestrator's key, its mandate, and what was once approved."""

    def __init__(self, house: Any, mandate: Envelope, digest: str, act: Envelope) -> None:
        task = act.payload
        assert isinstance(task, Task)
        self.house = house
        self.state: Any = SimpleNamespace(began=SimpleNamespace(grants=act.attestations))
        self.origin = origin_of(mandate, digest)
        self.task = task
        self.sent = 0

    async def orders(self, task: Task, **more: Any) -> str:
        """The outcome of a task it sends."""
        self.sent += 1
        name = f"forged{self.sent}"
        draft = Draft(
            to="executor",
            intent="act",
            payload=replace(task, task_id=name if task.task_id != self.task.task_id else task.task_id),
            step=name,
            budget=Amount(0, 1_000, 60_000, 1),
            **more,
        )
        identity, now_ms = self.house.identity("orchestrator"), self.house.transport.clock.now_ms()
        send = with_grants(Send(self.origin, draft), self.state, identity, now_ms)
        (sealed,) = await Sender(self.house.transport, identity).send(self.origin, [send.draft], now_ms=now_ms)
        with anyio.fail_after(10):
            while True:
                for envelope in await hops(self.house, "evaluator", self.origin.goal_id, "observe"):
                    if envelope.parent_id == sealed.envelope.id and isinstance(envelope.payload, TaskResult):
                        return envelope.payload.outcome
                await anyio.sleep(0.005)


async def hijack(house: Any, goal_id: str) -> Hijacked:
    (act,) = await hops(house, "executor", goal_id, "act")
    for message in await house.messages("HOPS", "role", "orchestrator", goal_id, "observe"):
        checked = decode(message.data)
        if checked.envelope is not None and checked.envelope.id == act.parent_id:
            return Hijacked(house, checked.envelope, checked.digest, act)
    raise AssertionError("the act has no parent")


def changed(approval: Approval, **more: Any) -> Approval:
    """The approval with fields of its first decision changed after it was signed."""
    wire = msgspec.json.decode(approval.decisions[0])
    wire["payload"] |= more
    body = msgspec.json.encode(wire, order="deterministic").decode()
    return replace(approval, decisions=[body])


async def test_a_hijacked_orchestrator_gets_nothing_done_that_nobody_approved(house: Any) -> None:
    goal = writing(house)
    goal["tasks"].append(goal["tasks"][0] | {"id": "b", "after": ["a"]})
    goal_id = (await house.submit(goal))["goalId"]
    await decide(house, await asked(house, goal_id))
    await asked(house, goal_id, 2)  # the goal goes on to wait for `b`, and has money left meanwhile
    thief = await hijack(house, goal_id)
    task = thief.task
    assert task.approvals is not UNSET
    (approval,) = task.approvals
    one_byte = replace(task, input={**task.input, "line": "oncf"})
    outcomes = {
        "without": await thief.orders(replace(task, approvals=UNSET)),
        "used": await thief.orders(task),
        "one byte": await thief.orders(one_byte),
        "seed": await thief.orders(replace(task, seed=task.seed + 1)),
        "another approval's id": await thief.orders(replace(task, approvals=[replace(approval, approval_id=goal_id)])),
        "forged digest": await thief.orders(replace(one_byte, approvals=[changed(approval, actionDigest="0" * 64)])),
        "no envelope": await thief.orders(replace(task, approvals=[replace(approval, decisions=["yes"])])),
        "own words": await thief.orders(replace(task, approvals=[_own_decision(thief, approval)])),
        "as a plan's": await thief.orders(replace(task, approvals=[replace(approval, operation="plan.start")])),
    }
    assert outcomes == {
        "without": "approval_missing",
        "used": "approval_used",
        "one byte": "approval_mismatch",
        "seed": "approval_mismatch",
        "another approval's id": "approval_mismatch",
        "forged digest": "approval_invalid",
        "no envelope": "approval_invalid",
        "own words": "not_human",
        "as a plan's": "approval_missing",
    }
    assert lines(house) == ["once"]


def _own_decision(thief: Hijacked, approval: Approval) -> Approval:
    """The orchestrator approves what it asks for, with its own key."""
    envelope = decode(approval.decisions[0].encode()).envelope
    assert envelope is not None
    from interlock.envelope.signing import seal

    own = seal(replace(envelope, sender="orchestrator"), thief.house.identity("orchestrator").key)
    return replace(approval, decisions=[own.wire.decode()])


async def test_a_task_of_a_risky_goal_runs_only_under_an_approved_plan(house: Any) -> None:
    goal = writing(house, risk_hints=RISKY_HINTS)
    goal["tasks"] = [{"id": "a", "skill": "doing-nothing"}, goal["tasks"][0] | {"id": "b", "after": ["a"]}]
    goal_id = (await house.submit(goal))["goalId"]
    await decide(house, await asked(house, goal_id))
    await asked(house, goal_id, 2)
    thief = await hijack(house, goal_id)
    assert thief.task.approvals is not UNSET
    (approval,) = thief.task.approvals
    assert approval.arguments is not UNSET
    skills = ["appending-line", "approved-line", "doing-nothing"]
    wider: dict[str, Any] = {**approval.arguments, "skills": skills}
    outcomes = [
        await thief.orders(replace(thief.task, approvals=UNSET)),
        await thief.orders(replace(thief.task, skill="appending-line", input={"place": "x", "line": "y"})),
        await thief.orders(
            replace(
                thief.task,
                skill="appending-line",
                input={"place": "x", "line": "y"},
                approvals=[replace(approval, arguments=wider)],
            )
        ),
        await thief.orders(replace(thief.task, approvals=[replace(approval, arguments=UNSET)])),
        await thief.orders(thief.task),
    ]
    # The policies see it first, then the executor would.
    assert outcomes == ["policy_denied"] * 4 + ["done"]
    check = ApprovalCheck(house.keys, ApprovalTerms(), Limits())
    act = (await hops(house, "executor", goal_id, "act"))[0]
    codes = [
        check.judge(act, replace(thief.task, approvals=given), required=False, now_ms=clock_ms()).grounds
        for given in (UNSET, [replace(approval, arguments=UNSET)], [replace(approval, arguments=wider)], [approval])
    ]
    assert [[ground.code for ground in grounds] for grounds in codes] == [
        ["approval_missing"],
        ["approval_missing"],
        ["approval_mismatch"],
        [],
    ]
