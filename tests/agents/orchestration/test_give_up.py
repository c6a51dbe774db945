"""A hop to the orchestrator that is given up ends its goal: nobody waits for a deadline an hour away."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest
from msgspec.structs import replace

from interlock.agents.goal.decide import UNDELIVERABLE, Decider
from interlock.agents.goal.gates import load_gates
from interlock.agents.orchestration.orchestrator import OrchestratorRole
from interlock.agents.orchestration.permitting import permit_of
from interlock.agents.parts import recognising
from interlock.agents.planning.planner import planner_of
from interlock.agents.status import read_status
from interlock.agents.wiring import running
from interlock.bus.hop import Disposition, Hop, Outcome
from interlock.envelope.amounts import clock_ms
from interlock.envelope.ids import new_id
from interlock.envelope.verdict import Reason
from tests.agents.conftest import InProcess

pytestmark = pytest.mark.anyio
DEAD = Outcome(Disposition.DEAD, Reason.MAX_DELIVERIES, "delivered again and again")


def orchestrator(house: InProcess) -> tuple[OrchestratorRole, Any]:
    parts = house.parts("orchestrator")
    decider = Decider(load_gates(parts.config / "gates.yaml"))
    role = OrchestratorRole(
        house.transport,
        house.workspace,
        parts.sender,
        decider,
        planner_of(parts),
        parts.seals,
        trust=parts.trust,
        terms=parts.approvals,
        permit=permit_of(parts),
    )
    return role, recognising(parts)


async def intake(house: InProcess) -> tuple[str, Hop]:
    async with running("gateway", house.parts("gateway")):
        answer = await house.submit(house.goal([{"id": "a", "skill": "doing-nothing"}]))
    (message,) = await house.messages("HOPS", "role", "orchestrator", answer["goalId"], "plan")
    return answer["goalId"], Hop(message, clock_ms())


async def test_an_intake_that_is_given_up_ends_its_goal(quiet_house: InProcess) -> None:
    role, recognise = orchestrator(quiet_house)
    goal_id, hop = await intake(quiet_house)
    recognise(hop)
    assert hop.authentic
    for _ in range(2):  # told again by whoever finds it dead
        await role.give_up(hop, DEAD)
    status = await read_status(quiet_house.transport, quiet_house.workspace, goal_id)
    assert status is not None
    assert (status.phase, status.outcome) == ("ended", "failed")
    assert UNDELIVERABLE in [ground.code for ground in status.grounds]


async def test_an_answer_that_is_given_up_ends_its_goal(quiet_house: InProcess) -> None:
    role, recognise = orchestrator(quiet_house)
    goal_id, first = await intake(quiet_house)
    recognise(first)
    await role.handle(first)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running("evaluator", quiet_house.parts("evaluator")))
        (message,) = await quiet_house.until("HOPS", 1, "role", "orchestrator", goal_id, "observe")
    verdict = Hop(message, clock_ms())
    recognise(verdict)
    await role.give_up(verdict, DEAD)
    status = await read_status(quiet_house.transport, quiet_house.workspace, goal_id)
    assert status is not None
    assert (status.phase, status.outcome) == ("ended", "failed")
    assert [ground.code for ground in status.grounds] == [UNDELIVERABLE]


async def test_of_a_goal_that_never_began_nobody_is_told(quiet_house: InProcess) -> None:
    role, recognise = orchestrator(quiet_house)
    goal_id, first = await intake(quiet_house)
    recognise(first)
    await role.handle(first)
    async with running("evaluator", quiet_house.parts("evaluator")):
        (message,) = await quiet_house.until("HOPS", 1, "role", "orchestrator", goal_id, "observe")
    other = Hop(message, clock_ms())
    recognise(other)
    nobody = new_id(clock_ms())
    other.envelope = replace(other.envelope, goal_id=nobody)
    await role.give_up(other, DEAD)
    assert await read_status(quiet_house.transport, quiet_house.workspace, nobody) is None


async def test_what_is_refused_ends_no_goal(quiet_house: InProcess) -> None:
    """Whoever may send at all could else end any goal by saying what it may not."""
    role, recognise = orchestrator(quiet_house)
    goal_id, hop = await intake(quiet_house)
    recognise(hop)
    await role.give_up(hop, Outcome(Disposition.DEAD, Reason.POLICY_DENIED, "not its to say"))
    assert await read_status(quiet_house.transport, quiet_house.workspace, goal_id) is None
