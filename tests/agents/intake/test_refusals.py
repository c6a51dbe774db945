"""What a gateway refused during a halt never begins, and what has begun is never told to be refused."""

from __future__ import annotations

import math
from typing import Any

import anyio
import msgspec
import pytest

from interlock.agents.intake.handed_in import REFUSED_BEFORE
from interlock.agents.wiring import running
from interlock.bus.clock import SystemClock
from interlock.bus.control.halts import Doing
from interlock.bus.control.source import NoControl
from interlock.bus.errors import Unavailable
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.streams import declarations
from interlock.bus.transport import MESSAGE_ID, PubAck
from interlock.envelope.amounts import clock_ms
from interlock.envelope.ids import new_id
from interlock.envelope.verdict import ALLOW, Verdict, deny
from tests.agents.conftest import InProcess, Keys
from tests.agents.intake.intakes import TASKS, letters, roots

pytestmark = pytest.mark.anyio


class Switch(NoControl):
    """Halts everything while it is off."""

    off, waits = False, 0

    def verdict(self, doing: Doing) -> Verdict:
        return deny("halted", "all is halted") if self.off else ALLOW

    async def until_allowed(self, doing: Doing) -> None:
        self.waits += 1
        while self.off:
            await anyio.sleep(0.01)

    async def waited(self, times: int) -> None:
        """Until the gateway has asked so often whether it may go on."""
        with anyio.fail_after(5):
            while self.waits < times:
                await anyio.sleep(0.005)


async def test_who_asks_again_during_a_halt_is_not_told_that_a_goal_which_runs_was_refused(
    quiet_house: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by a campaign: a broker was away, the answer was lost, the lease of control ran out, the repeat was refused."""
    monkeypatch.setattr("interlock.agents.intake.gateway.REFUSE_AFTER_MS", 50)
    house, control = quiet_house, Switch()
    goal, goal_id = house.goal(TASKS), new_id(clock_ms())
    async with running("gateway", house.parts("gateway", control=control)):
        assert (await house.submit(goal, goal_id))["goalId"] == goal_id
        await house.past_dedupe()
        control.off = True
        assert (await house.submit(goal, goal_id)).get("goalId") == goal_id
        assert "halted" in (await house.submit(goal))["errors"][0]["message"]
        control.off = False
    assert len(await roots(house)) == 1


class OutOfTouch(Switch):
    """Knows nothing of the broker while it is off."""

    @property
    def until_s(self) -> float:
        return -math.inf if self.off else math.inf


async def test_a_gateway_without_word_from_the_broker_refuses_nobody(
    quiet_house: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by a campaign: told of a halt in the middle of an election, a goal ran whose copy was stored after it."""
    monkeypatch.setattr("interlock.agents.intake.gateway.REFUSE_AFTER_MS", 20)
    house, control, told = quiet_house, OutOfTouch(), list[dict[str, Any]]()
    goal, goal_id = house.goal(TASKS), new_id(clock_ms())

    async def ask() -> None:
        told.append(await house.submit(goal, goal_id))

    async with running("gateway", house.parts("gateway", control=control)), anyio.create_task_group() as group:
        control.off = True
        group.start_soon(ask)
        await control.waited(4)
        assert told == []
        control.off = False
    assert [answer.get("goalId") for answer in told] == [goal_id]
    assert len(await roots(house)) == 1


async def test_a_refusal_stands_for_every_copy_that_waited_with_it(
    quiet_house: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by a campaign: who asked three times was refused once, and the goal ran when the halt was over."""
    monkeypatch.setattr("interlock.agents.intake.gateway.REFUSE_AFTER_MS", 600)
    house, control, told = quiet_house, Switch(), list[dict[str, Any]]()
    goal, goal_id = house.goal(TASKS), new_id(clock_ms())

    async def ask() -> None:
        told.append(await house.submit(goal, goal_id))

    async with running("gateway", house.parts("gateway", control=control)):
        control.off = True
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(ask)
                await house.past_dedupe()
        assert ["halted" in answer["errors"][0]["message"] for answer in told] == [True] * 3
        control.off = False
        later = new_id(clock_ms())
        assert (await house.submit(goal, later))["goalId"] == later
        assert {found.subject.split(".")[4] for found in await roots(house)} == {later}
        await house.past_dedupe()
        again = await house.submit(goal, goal_id)
        assert REFUSED_BEFORE in again["errors"][0]["message"]
    assert await house.messages("DEAD", "dead", ">") == []


async def test_what_was_refused_does_not_begin_under_the_next_gateway(
    quiet_house: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by a campaign: a copy lay in a stopped broker, was stored after the refusal, and ran."""
    monkeypatch.setattr("interlock.agents.intake.gateway.REFUSE_AFTER_MS", 50)
    house, control, goal_id = quiet_house, Switch(), new_id(clock_ms())
    goal = house.goal(TASKS)
    control.off = True
    async with running("gateway", house.parts("gateway", control=control)):
        assert "halted" in (await house.submit(goal, goal_id))["errors"][0]["message"]
    await house.past_dedupe()
    async with running("gateway", house.parts("gateway")):
        subject = f"interlock.{house.workspace}.goal.submit"
        await house.transport.send(subject, msgspec.json.encode(goal), headers={MESSAGE_ID: goal_id})
        assert REFUSED_BEFORE in (await letters(house, 1))[0].detail
    assert await roots(house) == []


class Withholding(MemoryTransport):
    """A connection over which the first envelope of a goal is on its way for as long as `lost`."""

    lost = True

    async def publish(self, subject: str, data: bytes, **more: Any) -> PubAck:
        if subject.endswith(".plan") and self.lost:
            raise Unavailable("no answer")
        return await super().publish(subject, data, **more)


async def test_who_asks_again_for_a_goal_that_may_have_begun_is_not_told_that_it_was_refused(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.agents.intake.gateway.REFUSE_AFTER_MS", 20)
    transport, control, goal_id = Withholding(SystemClock()), Switch(), new_id(clock_ms())
    house = InProcess(transport, "w", Keys("w"), tmp_path)
    await transport.declare(declarations(("w",)))
    goal, told = house.goal(TASKS), list[dict[str, Any]]()

    async def ask() -> None:
        told.append(await house.submit(goal, goal_id))

    async with running("gateway", house.parts("gateway", control=control)), anyio.create_task_group() as group:
        group.start_soon(ask)
        await house.until("LEDGER", 1, "ledger", "goal", goal_id)
        control.off = True
        await house.past_dedupe()
        asked = control.waits
        group.start_soon(ask)
        await house.until("GOALS", 2, "goal", "submit")
        await control.waited(asked + 2)  # not within the time for a refusal, and then for as long as the halt lasts
        assert told == []
        transport.lost, control.off = False, False
    assert [answer.get("goalId") for answer in told] == [goal_id] * 2
    assert len(await roots(house)) == 1
