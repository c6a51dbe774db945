"""Goals that are halted and resumed, over both transports: nothing begins meanwhile, nothing is lost, nothing is done
twice.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest

from interlock.agents.status import read_status
from interlock.agents.wiring import running
from interlock.bus.control.giving import give_order
from interlock.bus.control.holder import ControlHolder, ControlSettings
from interlock.bus.sender import Identity
from interlock.bus.tasks import background
from interlock.envelope.amounts import clock_ms, timestamp
from interlock.envelope.ids import new_id

pytestmark = pytest.mark.anyio
ROLES = ("gateway", "orchestrator", "evaluator", "executor", "auditor", "synthesizer")


class Controlled:
    """A house whose roles obey halts."""

    def __init__(self, house: Any) -> None:
        self.house = house
        self.human = Identity("human", house.keys.agents["human"])

    async def give(self, verb: Any, scope: str) -> None:
        await give_order(self.house.transport, self.house.workspace, self.human, verb, scope, "a test")

    def lines(self) -> Counter[str]:
        path = self.house.scratch / "lines.txt"
        return Counter(path.read_text().splitlines() if path.exists() else [])

    def goal(self, tasks: int = 4, pause_ms: int = 0, name: str = "t", **more: Any) -> dict[str, Any]:
        """A chain of tasks that each leave a line outside."""
        listed = [
            {
                "id": f"t{n}",
                "skill": "appending-line",
                "after": [f"t{n - 1}"] if n else [],
                "input": {"place": str(self.house.scratch), "line": f"{name}{n}", "pause_ms": pause_ms},
            }
            for n in range(tasks)
        ]
        goal: dict[str, Any] = self.house.goal(listed, **more)
        return goal

    async def still(self, rounds: int = 30) -> None:
        """Nothing new in HOPS in so many looks, by the broker's own count: the work has come to a stand."""
        with anyio.fail_after(15):
            before, same = -1, 0
            while same < rounds:
                await anyio.sleep(0.01)
                now = await self.house.transport.count("HOPS", f"interlock.{self.house.workspace}.role.>")
                before, same = now, same + 1 if now == before else 0

    async def working(self, count: int) -> None:
        with anyio.fail_after(15):
            while self.lines().total() < count:
                await anyio.sleep(0.005)


@pytest.fixture
async def controlled(quiet_house: Any) -> AsyncIterator[Controlled]:
    async with all_running(quiet_house) as controlled:
        yield controlled


@asynccontextmanager
async def all_running(house: Any, grace_ms: int = 0, **settings: int) -> AsyncIterator[Controlled]:
    """Every role with a holder of its own, as every process has."""
    async with background() as group, AsyncExitStack() as stack:
        for role in ROLES:
            control = ControlHolder(house.workspace, house.keys, ControlSettings(**({"poll_ms": 50} | settings)))
            group.start_soon(control.follow, house.transport)
            await stack.enter_async_context(running(role, house.parts(role, control=control, halt_grace_ms=grace_ms)))
        yield Controlled(house)


def scopes(goal_id: str, scratch: Any) -> list[str]:
    return [
        "everything",
        "workspace",
        "role:executor",
        "role:orchestrator",
        "agent:evaluator",
        "skill:appending-line",
        f"target:{scratch}",
        f"goal:{goal_id}",
    ]


@pytest.mark.parametrize("number", range(8))
async def test_a_goal_halted_on_its_way_and_resumed_ends_as_if_nothing_had_been(
    controlled: Controlled, number: int
) -> None:
    house, goal_id = controlled.house, new_id(clock_ms())
    scope = scopes(goal_id, house.scratch)[number]
    await house.submit(controlled.goal(5, pause_ms=30), goal_id)
    await controlled.working(1)
    await controlled.give("halt", scope)
    await controlled.still()
    before = controlled.lines()
    await controlled.still()
    status = await read_status(house.transport, house.workspace, goal_id)
    assert status is not None
    assert status.phase != "ended"
    assert controlled.lines() == before
    assert 0 < before.total() < 5
    await controlled.give("resume", scope)
    status = await house.ended(goal_id)
    assert status.outcome == "released", status.grounds
    assert controlled.lines() == Counter([f"t{n}" for n in range(5)])
    audited = await house.audited(goal_id)
    assert audited.hops == audited.verified
    assert await house.messages("DEAD", "dead", ">") == []
    acts = await house.messages("HOPS", "role", "executor", goal_id, "act")
    assert [json.loads(act.data)["payload"]["attempt"] for act in acts] == [1] * len(acts)


async def test_one_goal_is_halted_and_the_others_go_on(controlled: Controlled) -> None:
    """More halted hops than the executor has workers: they must not stand in the way."""
    house, halted = controlled.house, new_id(clock_ms())
    tasks = [{"id": f"t{n}", "skill": "doing-nothing"} for n in range(40)]
    await controlled.give("halt", "skill:doing-nothing")
    await house.submit(house.goal(tasks), halted)
    await controlled.still()
    assert len(await house.messages("HOPS", "role", "executor", halted, "act")) == 40
    await controlled.give("halt", f"goal:{halted}")
    await controlled.give("resume", "skill:doing-nothing")
    status = await house.run(controlled.goal(2))
    assert status.outcome == "released", status.grounds
    assert await house.messages("HOPS", "role", "evaluator", halted, "observe") == []
    await controlled.give("resume", f"goal:{halted}")
    assert (await house.ended(halted)).outcome == "released"


async def test_a_running_skill_is_stopped_after_its_grace_and_asked_what_it_did(quiet_house: Any) -> None:
    async with all_running(quiet_house, grace_ms=100) as controlled:
        house, goal_id = controlled.house, new_id(clock_ms())
        await house.submit(controlled.goal(2, pause_ms=700), goal_id)
        await house.until("JOURNAL", 1, "journal", "effect", ">")
        await controlled.give("halt", "workspace")
        await controlled.still(10)
        assert controlled.lines().total() == 0, "it would have written by now"
        await controlled.give("resume", "workspace")
        status = await house.ended(goal_id)
        assert status.outcome == "released", status.grounds
        assert controlled.lines() == Counter(["t0", "t1"])


async def test_a_running_skill_may_end_within_its_grace(quiet_house: Any) -> None:
    async with all_running(quiet_house, grace_ms=20_000) as controlled:
        house, goal_id = controlled.house, new_id(clock_ms())
        stamps = house.scratch / "stamps.txt"
        given = {"place": str(house.scratch), "line": "one", "pause_ms": 400}
        await house.submit(house.goal([{"id": "one", "skill": "stamping-time", "input": given}]), goal_id)
        with anyio.fail_after(15):
            while not stamps.exists():  # written when the run begins
                await anyio.sleep(0.005)
        await controlled.give("halt", f"goal:{goal_id}")
        await house.until("JOURNAL", 2, "journal", "effect", ">")
        await controlled.still()
        records = [json.loads(one.data)["type"] for one in await house.messages("JOURNAL", "journal", "effect", ">")]
        assert records == ["intent", "outcome"]
        assert await house.messages("HOPS", "role", "evaluator", goal_id, "observe") == []
        await controlled.give("resume", f"goal:{goal_id}")
        assert (await house.ended(goal_id)).outcome == "released"
        assert len(stamps.read_text().splitlines()) == 1


async def test_a_goal_halted_beyond_its_deadline_ends_when_it_is_resumed(controlled: Controlled) -> None:
    house, goal_id = controlled.house, new_id(clock_ms())
    await controlled.give("halt", "role:executor")
    await controlled.give("halt", f"goal:{goal_id}")
    soon = clock_ms() + 1_200
    await controlled.give("resume", f"goal:{goal_id}")
    await house.submit(controlled.goal(2, deadline=timestamp(soon)), goal_id)
    await house.until("HOPS", 1, "role", "executor", goal_id, "act")
    await controlled.give("halt", f"goal:{goal_id}")
    with anyio.fail_after(10):
        while clock_ms() < soon + 1_500:
            await anyio.sleep(0.05)
    status = await read_status(house.transport, house.workspace, goal_id)
    assert status is not None
    assert status.phase != "ended"
    assert await house.messages("HOPS", "role", "human", goal_id, "complete") == []
    await controlled.give("resume", f"goal:{goal_id}")
    status = await house.ended(goal_id)
    assert (status.outcome, status.grounds[-1].code) == ("failed", "deadline")
    assert len(await house.until("HOPS", 1, "role", "human", goal_id, "complete")) == 1
    await controlled.give("resume", "role:executor")
    assert controlled.lines().total() == 0


async def test_who_asks_while_the_workspace_is_halted_is_refused_and_who_does_not_is_kept(
    controlled: Controlled,
) -> None:
    house, kept = controlled.house, new_id(clock_ms())
    await controlled.give("halt", "workspace")
    subject = f"interlock.{house.workspace}.goal.submit"
    data = msgspec.json.encode(controlled.goal(1))
    await house.transport.send(subject, data, headers={"Nats-Msg-Id": kept})
    answer = await house.submit(controlled.goal(1, name="refused"))
    assert "halted" in answer["errors"][0]["message"]
    assert "a test" in answer["errors"][0]["message"]
    assert await house.messages("HOPS", "role", ">") == []
    await controlled.give("resume", "workspace")
    assert (await house.ended(kept)).outcome == "released"
    assert controlled.lines() == Counter(["t0"])


async def test_one_who_may_not_halts_nothing(controlled: Controlled) -> None:
    house = controlled.house
    for agent in ("executor", "evaluator", "gateway", "synthesizer"):
        identity = Identity(agent, house.keys.agents[agent])
        await give_order(house.transport, house.workspace, identity, "halt", "workspace", "mutiny")
    status = await house.run(controlled.goal(1))
    assert status.outcome == "released", status.grounds


async def test_only_a_human_resumes(controlled: Controlled) -> None:
    house, goal_id = controlled.house, new_id(clock_ms())
    auditor = Identity("auditor", house.keys.agents["auditor"])
    await give_order(house.transport, house.workspace, auditor, "halt", f"goal:{goal_id}", "a bad signature")
    await give_order(house.transport, house.workspace, auditor, "resume", f"goal:{goal_id}", "changed its mind")
    await house.transport.send(
        f"interlock.{house.workspace}.goal.submit",
        msgspec.json.encode(controlled.goal(1)),
        headers={"Nats-Msg-Id": goal_id},
    )
    await controlled.still(12)
    assert await house.messages("HOPS", "role", ">") == []
    await controlled.give("resume", f"goal:{goal_id}")
    assert (await house.ended(goal_id)).outcome == "released"
