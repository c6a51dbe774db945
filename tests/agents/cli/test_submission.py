"""What who hands in a goal is told when no gateway answers, or no orchestrator takes it up."""

from __future__ import annotations

import anyio
import pytest

from interlock.agents.cli.session import find_goal
from interlock.agents.cli.submission import ANSWER_MS, publish_goal
from interlock.agents.errors import UserError
from interlock.agents.wiring import running
from interlock.bus.clock import ManualClock
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.streams import declarations
from interlock.envelope.amounts import clock_ms
from interlock.envelope.ids import new_id
from tests.agents.conftest import InProcess

pytestmark = pytest.mark.anyio


async def test_a_goal_for_a_workspace_that_nobody_has_is_nowhere() -> None:
    transport = MemoryTransport(ManualClock())
    await transport.declare(declarations(("mine",)))
    with pytest.raises(UserError, match="nobody takes goals for workspace other here, and nothing was kept") as told:
        await publish_goal(transport, "other", b"{}")
    assert told.value.reason == "no_gateway"
    assert await transport.count("GOALS", ">") == 0


async def test_a_goal_for_a_gateway_that_is_stopped_waits_for_it() -> None:
    clock = ManualClock()
    transport = MemoryTransport(clock)
    await transport.declare(declarations(("mine",)))
    told: list[UserError] = []

    async def submit() -> None:
        try:
            await publish_goal(transport, "mine", b"{}")
        except UserError as error:
            told.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(submit)
        await transport.settle()
        clock.advance(ANSWER_MS)
        await transport.settle()
    assert "if the broker has it, it is goal" in str(told[0])
    assert await transport.count("GOALS", ">") == 1


async def test_a_goal_that_was_accepted_and_not_taken_up_is_no_unknown_one(quiet_house: InProcess) -> None:
    house = quiet_house
    async with running("gateway", house.parts("gateway")):
        goal_id = (await house.submit(house.goal([{"id": "a", "skill": "doing-nothing"}])))["goalId"]
    with pytest.raises(
        UserError, match=f"goal {goal_id} was handed to the orchestrator, .* not taken it up yet"
    ) as told:
        await find_goal(house.transport, house.workspace, goal_id)
    assert (told.value.reason, told.value.exit_code) == ("not_taken_up", 1)
    for unknown in (new_id(clock_ms()), goal_id[:8]):
        with pytest.raises(UserError, match="unknown_goal"):
            await find_goal(house.transport, house.workspace, unknown)
