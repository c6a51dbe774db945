"""Whoever waits for a goal hears once what it waits for."""

from __future__ import annotations

import anyio
import pytest

from interlock.agents.cli.holding_up import HoldingUp
from interlock.agents.status import GoalStatus
from interlock.bus.control.orders import ControlOrder
from interlock.bus.errors import Unavailable
from interlock.envelope.amounts import timestamp
from interlock.envelope.ids import new_id
from tests.envelope.samples import KEYS, NOW

pytestmark = pytest.mark.anyio
GOAL, OTHER = (new_id(NOW, name) for name in (b"goal-goal-", b"goal-other"))


def halt(scope: str) -> ControlOrder:
    return ControlOrder(
        workspace="default",
        scope=scope,
        verb="halt",
        why="fire",
        by="human",
        at=timestamp(NOW),
        number=NOW,
        key_id=KEYS["human"].key_id,
    )


async def nothing() -> list[ControlOrder]:
    return []


def test_an_approval_that_is_waited_for_is_told_once() -> None:
    told: list[str] = []
    holding = HoldingUp(GOAL, nothing, told.append)
    waiting = GoalStatus(goal_id=GOAL, workspace="default", goal="x", phase="approval", approvals=["one"])
    for status in (None, waiting, waiting):
        holding.show(status, 0)
    assert told == ["waits for a decision: `interlock approve one`, or reject"]


async def test_halts_that_concern_the_goal_are_told_once_and_a_broker_that_is_away_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from interlock.agents.cli import holding_up

    monkeypatch.setattr(holding_up, "EVERY_S", 0)
    told: list[str] = []
    asked = 0
    done = anyio.Event()

    async def halts() -> list[ControlOrder]:
        nonlocal asked
        asked += 1
        if asked == 4:
            done.set()
        if asked == 1:
            raise Unavailable("away")
        return [halt("role:executor"), halt(f"goal:{OTHER}")]

    async with anyio.create_task_group() as group:
        group.start_soon(HoldingUp(GOAL, halts, told.append).watch)
        with anyio.fail_after(5):
            await done.wait()
        group.cancel_scope.cancel()
    assert told == [f"halted role:executor by human since {timestamp(NOW)}: fire; `interlock resume role:executor`"]
