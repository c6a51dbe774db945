"""A run under halts: refused before it begins, ended when it was halted for its grace, ended where nobody can tell."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import anyio
import pytest

from interlock.agents.execution.halting import LOOK_S, HaltedRun, run_unless_halted
from interlock.bus.control.halts import Doing, halted
from interlock.bus.control.source import NO_CONTROL, NoControl
from interlock.envelope.verdict import ALLOW, Verdict
from interlock.skills.runner import RunResult

pytestmark = pytest.mark.anyio
DOING = Doing(agent="executor")


class Control(NoControl):
    """Allows until it is told otherwise; watched: how often somebody waited for a halt."""

    def __init__(self, answer: Callable[[], Verdict]) -> None:
        self.now: Verdict = ALLOW
        self.watched = 0
        self._answer = answer

    def verdict(self, doing: Doing) -> Verdict:
        return self.now

    async def until_halted(self, doing: Doing, for_ms: int) -> Verdict:
        self.watched += 1
        return self._answer()


async def begun(seconds: float, begin_by: Callable[[], float]) -> RunResult:
    assert begin_by() == 0.0
    await anyio.sleep(seconds)
    return RunResult(outcome="done")


@pytest.mark.parametrize("looks", [0, 3])
async def test_a_run_that_is_not_halted_has_no_watcher(looks: int) -> None:
    control = Control(lambda: halted("now"))
    result = await run_unless_halted(control, DOING, 0, lambda begin_by: begun(looks * LOOK_S, begin_by))
    assert (result.outcome, control.watched) == ("done", 0)
    assert (
        await run_unless_halted(NO_CONTROL, DOING, 0, lambda begin_by: begun(3 * LOOK_S, begin_by))
    ).outcome == "done"


@pytest.mark.parametrize("looks", [0, 3])
async def test_a_run_that_lasts_is_ended_when_it_is_halted(looks: int) -> None:
    control = Control(lambda: halted("a human said so"))

    async def halted_on_its_way(begin_by: Callable[[], float]) -> RunResult:
        await begun(looks * LOOK_S, begin_by)
        control.now = halted("meanwhile")
        await anyio.sleep_forever()
        raise AssertionError

    with anyio.fail_after(5), pytest.raises(HaltedRun, match="a human said so") as raised:
        await run_unless_halted(control, DOING, 0, halted_on_its_way)
    assert (raised.value.begun, control.watched) == (True, 1)


async def test_what_is_halted_does_not_begin() -> None:
    control = Control(lambda: ALLOW)
    control.now = halted("before")
    with pytest.raises(HaltedRun, match="before") as raised:
        await run_unless_halted(control, DOING, 0, lambda begin_by: begun(0, begin_by))
    assert not raised.value.begun


async def test_a_run_is_ended_where_nobody_can_tell_whether_it_is_halted() -> None:
    def broken() -> Verdict:
        raise RuntimeError("no source of halts")

    control = Control(broken)

    async def begun_while_it_could_be_told(begin_by: Callable[[], float]) -> RunResult:
        begin_by()
        control.verdict = lambda doing: broken()  # type: ignore[method-assign]  # a double
        await anyio.sleep_forever()
        raise AssertionError

    with anyio.fail_after(5), pytest.raises(HaltedRun, match="no source of halts"):
        await run_unless_halted(control, DOING, 0, begun_while_it_could_be_told)


async def test_who_is_cancelled_leaves_no_watcher_behind() -> None:
    before = asyncio.all_tasks()
    with anyio.move_on_after(3 * LOOK_S) as scope:
        await run_unless_halted(NO_CONTROL, DOING, 0, lambda begin_by: begun(math.inf, begin_by))
    assert scope.cancelled_caught
    assert asyncio.all_tasks() == before
