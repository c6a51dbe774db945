"""Requests outlive everybody: crashes between journal and send, restarts of all roles and of the broker, an hour of waiting."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from interlock.agents.status import read_status
from interlock.agents.wiring import running
from interlock.bus.clock import ManualClock, SystemClock
from interlock.bus.errors import Unavailable
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.schedules import SCHEDULE, due_subject
from interlock.bus.server.embedded import EmbeddedServer
from interlock.bus.streams import declarations
from interlock.envelope.amounts import clock_ms, time_ms
from interlock.envelope.approval import ApprovalTerms
from tests.agents.approvals.humans import asked, decide, told
from tests.agents.conftest import InProcess, Keys

pytestmark = pytest.mark.anyio
BEFORE = ("gateway", "orchestrator", "evaluator")
ROLES = (*BEFORE, "executor", "auditor", "synthesizer")
RISKY = {"risk_hints": {"employment_decisions": True, "human_oversight": True, "transparency": True}}
NOTHING = [{"id": "a", "skill": "doing-nothing"}]


@asynccontextmanager
async def roles(house: Any, names: tuple[str, ...] = ROLES, **more: Any) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for name in names:
            await stack.enter_async_context(running(name, house.parts(name, **more)))
        yield


async def test_all_roles_restart_between_request_and_decision(quiet_house: Any) -> None:
    house = quiet_house
    async with roles(house, BEFORE):
        goal_id = (await house.submit(house.goal(NOTHING, **RISKY)))["goalId"]
        pending = await asked(house, goal_id)
    await decide(house, pending)  # nobody is there to hear it
    async with roles(house):
        assert (await house.ended(goal_id)).outcome == "released"


async def test_the_time_runs_out_while_nobody_is_there(quiet_house: Any) -> None:
    house = quiet_house
    async with roles(house, BEFORE, approvals=ApprovalTerms(timeout_ms=200)):
        goal_id = (await house.submit(house.goal(NOTHING, **RISKY)))["goalId"]
        pending = await asked(house, goal_id)
    await house.until("TIMERS", 1, "timer", "due", "approval", goal_id, pending.approval_id)
    # Other settings do not change what goals that have begun were promised.
    async with roles(house, approvals=ApprovalTerms(timeout_ms=3_000_000, needed=2)):
        status = await house.ended(goal_id)
        assert "approval_timed_out" in [ground.code for ground in status.grounds]
        assert (await told(house, pending, "timed_out")).needed == 1


@pytest.mark.nats
async def test_the_broker_itself_restarts_in_between(tmp_path: Path) -> None:
    keys, workspace = Keys("w"), "w"
    for last in (False, True):
        async with (
            EmbeddedServer(tmp_path / "store") as server,
            JetStreamTransport.connect(server.url, name="tests") as transport,
        ):
            house = InProcess(transport, workspace, keys, tmp_path)
            if not last:
                await transport.declare(declarations((workspace,)))
                async with roles(house, BEFORE, approvals=ApprovalTerms(timeout_ms=1_500)):
                    goals = [(await house.submit(house.goal(NOTHING, **RISKY)))["goalId"] for _ in range(2)]
                    waiting = [await asked(house, goal_id) for goal_id in goals]
                    await decide(house, waiting[0])
                    await told(house, waiting[0], "approved")
            else:
                async with roles(house):
                    assert (await house.ended(goals[0])).outcome == "released"
                    grounds = (await house.ended(goals[1])).grounds
                    assert "approval_timed_out" in [ground.code for ground in grounds]


class Failing(MemoryTransport):
    """Loses the connection once, at the first publish that fits, before or after the message is stored."""

    def __init__(self, broker: Any, fits: Any, *, after: bool) -> None:
        super().__init__(broker.clock, broker)
        self.fits = fits
        self.stores_it = after
        self.failed = 0

    async def publish(self, subject: str, data: bytes, **more: Any) -> Any:
        if not self.failed and self.fits(subject, data, more):
            self.failed += 1
            if self.stores_it:
                await super().publish(subject, data, **more)
            raise Unavailable("the connection was lost")
        return await super().publish(subject, data, **more)


POINTS = {
    "journal of the verdict": lambda subject, data, _: b'"reviewed"' in data and ".journal." in subject,
    "reminder": lambda _subject, _data, more: SCHEDULE in more.get("headers", {}),
    "request": lambda subject, _data, _more: ".role.human." in subject,
    "view of the request": lambda subject, _data, _more: subject.startswith("$KV.approvals"),
    "journal of the decision": lambda subject, data, _: b'"decided"' in data and ".journal." in subject,
    "task": lambda subject, _data, _more: ".role.executor." in subject,
}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("point", POINTS)
async def test_a_crash_at_any_point_loses_and_repeats_nothing(tmp_path: Path, point: str, after: bool) -> None:
    transport = MemoryTransport(SystemClock())
    await transport.declare(declarations(("w",)))
    house = InProcess(transport, "w", Keys("w"), tmp_path)
    failing = Failing(transport.broker, POINTS[point], after=after)
    async with AsyncExitStack() as stack:
        for name in ROLES:
            mine = failing if name == "orchestrator" else transport
            await stack.enter_async_context(running(name, house.parts(name, mine)))
        goal_id = (await house.submit(house.goal(NOTHING, **RISKY)))["goalId"]
        await decide(house, await asked(house, goal_id))
        assert (await house.ended(goal_id)).outcome == "released"
        assert failing.failed == 1
        assert len(await house.messages("HOPS", "role", "human", goal_id, "escalate")) == 1
        assert len(await house.messages("HOPS", "role", "executor", goal_id, "act")) == 1
        audited = await house.audited(goal_id)
        assert audited.hops == audited.verified


async def test_forged_reminders_end_nothing(house: Any) -> None:
    goal_id = (await house.submit(house.goal(NOTHING, **RISKY)))["goalId"]
    pending = await asked(house, goal_id)
    for key in ((goal_id, pending.approval_id), (goal_id, goal_id), ("no", "uuid"), (pending.approval_id, goal_id)):
        await house.transport.publish(due_subject(house.workspace, "approval", *key), b"now!")
    await decide(house, pending)
    assert (await house.ended(goal_id)).outcome == "released"


async def test_an_hour_passes_on_a_manual_clock(tmp_path: Path) -> None:
    clock = ManualClock(clock_ms())
    transport = MemoryTransport(clock)
    await transport.declare(declarations(("w",)))
    house = InProcess(transport, "w", Keys("w"), tmp_path)
    async with roles(house, BEFORE):
        goal_id = ""
        async with anyio.create_task_group() as group:

            async def submit() -> None:
                nonlocal goal_id
                goal_id = (await house.submit(house.goal(NOTHING, **RISKY)))["goalId"]

            group.start_soon(submit)
            await transport.settle()
        await transport.settle()
        pending = await asked(house, goal_id)
        left_ms = time_ms(pending.expires_at) - clock.now_ms()
        assert left_ms > 59 * 60_000  # the goal's own end comes half a minute before the hour is full
        for step_ms in (left_ms // 2, left_ms - left_ms // 2 - 1):
            clock.advance(step_ms)
            await transport.settle()
            status = await read_status(transport, "w", goal_id)
            assert status is not None
            assert status.phase == "approval"
        clock.advance(1)
        with anyio.fail_after(10):
            while (status := await read_status(transport, "w", goal_id)) is None or status.phase != "ended":
                await transport.settle()
        assert "approval_timed_out" in [ground.code for ground in status.grounds]
        assert (await told(house, pending, "timed_out")).decisions == []
