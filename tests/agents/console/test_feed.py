"""One reader, many browsers: bounded, conflated, dropped when slow."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from interlock.agents.console import stream
from interlock.agents.console.app import application
from interlock.agents.console.board import MOST_ROWS, Board
from interlock.agents.console.desk import Kept
from interlock.agents.console.feed import Feed, TooMany, is_topic
from interlock.agents.status import GoalStatus
from interlock.bus.clock import SystemClock
from interlock.bus.errors import Unavailable
from interlock.bus.kv import kv_put
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.streams import declarations
from interlock.bus.transport import Message
from interlock.envelope.ids import new_id
from tests.agents.conftest import InProcess, Keys
from tests.agents.console.conftest import Browser, Counter, desk_for

pytestmark = pytest.mark.anyio
GOAL = "0197a2b4-0000-7000-8000-000000000001"


def message(goal_id: str, **more: Any) -> Message:
    status = GoalStatus(goal_id=goal_id, workspace="w", goal=more.pop("goal", "x"), phase="running", **more)
    return Message(f"$KV.goals.w.{goal_id}", msgspec.json.encode(status), sequence=1)


def test_the_board_is_bounded_and_keeps_the_newest() -> None:
    board = Board()
    ids = [new_id(1_000 + number) for number in range(MOST_ROWS + 50)]
    for goal_id in ids:
        assert board.take(message(goal_id, goal="g" * 10_000)) == goal_id
    rows = board.rows()
    assert len(rows) == MOST_ROWS
    assert rows[0].goal_id == max(ids)
    assert min(row.goal_id for row in rows) == sorted(ids)[50]
    assert max(len(row.goal) for row in rows) < 300


@pytest.mark.parametrize(
    ("subject", "data"),
    [
        ("$KV.goals.w.nonsense", b"{}"),
        ("$KV.goals.w", b"{}"),
        (f"$KV.goals.w.{GOAL}", b"\xff"),
        (f"$KV.goals.w.{GOAL}", b"{}"),
        (f"$KV.goals.w.{GOAL}.audit", b"[]"),
        (f"$KV.goals.w.{GOAL}", b"[" * 100_000),
    ],
    ids=range(6),
)
def test_garbage_is_no_row(subject: str, data: bytes) -> None:
    board = Board()
    board.take(Message(subject, data, sequence=1))
    assert board.rows() == []


@pytest.mark.parametrize(
    ("name", "known"),
    [("goals", True), (f"goal.{GOAL}", True), ("goal.x", False), ("goal.", False), ("", False), ("x", False)],
)
def test_topics(name: str, known: bool) -> None:
    assert is_topic(name) is known


def quiet_feed(most: int = 4) -> Feed:
    return Feed(MemoryTransport(SystemClock()), "w", most)


async def test_what_changed_often_is_told_once() -> None:
    feed = quiet_feed()
    with feed.listening(frozenset({"goals", "dead"})) as listener:
        assert await listener.wait(1) == {"goals", "dead"}, "at first all of it: the page may be older"
        for _ in range(10_000):
            feed.mark("goals")
            feed.mark("halts")
        assert listener.changed == {"goals"}
        assert await listener.wait(1) == {"goals"}
        assert await listener.wait(0.01) == set()


async def test_there_is_room_for_so_many_and_no_more() -> None:
    feed = quiet_feed(most=2)
    with feed.listening(frozenset({"goals"})), feed.listening(frozenset({"goals"})):
        with pytest.raises(TooMany), feed.listening(frozenset({"goals"})):
            pass
        assert feed.listeners == 2
    assert feed.listeners == 0


async def test_goals_that_nobody_looks_at_leave_nothing_behind() -> None:
    feed = quiet_feed()
    for number in range(1_000):
        feed.mark(f"goal.{new_id(number)}")
    assert feed.version(f"goal.{GOAL}") == 0
    with feed.listening(frozenset({f"goal.{GOAL}"})):
        first = feed.version(f"goal.{GOAL}")
        feed.mark(f"goal.{GOAL}")
        assert feed.version(f"goal.{GOAL}") > first > 0
    assert feed.version(f"goal.{GOAL}") == 0
    assert len(feed._versions) == 6


async def test_what_one_reads_serves_all_until_it_changes() -> None:
    feed = quiet_feed()
    kept, reads = Kept(feed), 0

    async def load() -> int:
        nonlocal reads
        reads += 1
        await anyio.sleep(0)
        return reads

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(kept.get, "goals", "x", load)
    assert reads == 1
    feed.mark("goals")
    assert await kept.get("goals", "x", load) == 2
    assert await kept.get(f"goal.{GOAL}", "x", load) == 3
    assert await kept.get(f"goal.{GOAL}", "x", load) == 4, "of a goal that nobody listens to nothing is known to be new"

    async def fails() -> int:
        raise Unavailable("away")

    feed.mark("goals")
    with pytest.raises(Unavailable):
        await kept.get("goals", "x", fails)
    assert await kept.get("goals", "x", load) == 5
    assert not kept._locks


class Stream:
    """A browser's stream; slow: takes nothing after its head."""

    def __init__(self, counter: Counter, browser: Browser, topics: str, slow: bool = False) -> None:
        self.received: list[bytes] = []
        self.status = 0
        self.gone = anyio.Event()
        self._counter, self._browser, self._topics, self._slow = counter, browser, topics, slow

    async def run(self) -> None:
        asked = False

        async def receive() -> dict[str, Any]:
            nonlocal asked
            if not asked:
                asked = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await self.gone.wait()
            return {"type": "http.disconnect"}

        async def send(sent: dict[str, Any]) -> None:
            if sent["type"] == "http.response.start":
                self.status = sent["status"]
                return
            if self._slow:
                await anyio.sleep_forever()
            self.received.append(sent["body"])

        scope = self._browser.scope("GET", f"/events?topics={self._topics}", [])
        try:
            await self._counter.app(scope, receive, send)
        finally:
            self.ended = True

    async def until(self, part: bytes, count: int = 1) -> None:
        with anyio.fail_after(10):
            while b"".join(self.received).count(part) < count:
                await anyio.sleep(0.01)


async def test_a_change_on_the_bus_reaches_the_browser(quiet_counter: Counter) -> None:
    browser = await quiet_counter.browser()
    live = Stream(quiet_counter, browser, f"goals,goal.{GOAL}")
    async with anyio.create_task_group() as group:
        group.start_soon(live.run)
        await live.until(b"event: goals")
        house = quiet_counter.house
        status = GoalStatus(goal_id=GOAL, workspace=house.workspace, goal="seen at once", phase="running")
        await kv_put(house.transport, "goals", f"{house.workspace}.{GOAL}", msgspec.json.encode(status))
        await live.until(b"event: goals", 2)
        await live.until(b"event: goal\r", 2)
        assert "seen at once" in (await browser.get("/goals?part=live")).text
        live.gone.set()
    assert quiet_counter.desk.feed.listeners == 0


async def test_a_stream_ends_with_its_visit(quiet_counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "LOOK_S", 0.05)
    browser = await quiet_counter.browser()
    live = Stream(quiet_counter, browser, "goals")
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(live.run)
            await live.until(b"event: goals")
            await quiet_counter.act(browser, "/logout")
    assert quiet_counter.desk.feed.listeners == 0


@pytest.mark.parametrize("topics", ["", "nonsense", "goals,nonsense", ",".join(["goals"] * 3 + ["x"]), "goal.../etc"])
async def test_streams_of_nothing_are_refused(quiet_counter: Counter, topics: str) -> None:
    browser = await quiet_counter.browser()
    assert (await browser.get(f"/events?topics={topics}")).status == 400


async def test_a_browser_that_takes_nothing_is_dropped(
    quiet_counter: Counter, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(stream, "SEND_S", 0.1)
    browser = await quiet_counter.browser()
    slow, quick = Stream(quiet_counter, browser, "goals", slow=True), Stream(quiet_counter, browser, "goals")
    async with anyio.create_task_group() as group:
        group.start_soon(slow.run)
        group.start_soon(quick.run)
        await quick.until(b"event: goals")
        with anyio.fail_after(10):
            while quiet_counter.desk.feed.listeners > 1:
                await anyio.sleep(0.01)
        quiet_counter.desk.feed.mark("goals")
        await quick.until(b"event: goals", 2)
        quick.gone.set()


async def test_fifty_streams_hold_no_more_after_a_storm_than_before(tmp_path: Path) -> None:
    """Fifty browsers listen while twenty thousand changes pass: what is held does not grow with what passed."""
    transport = MemoryTransport(SystemClock())
    await transport.declare(declarations(("w",)))
    house = InProcess(transport, "w", Keys("w"), tmp_path)
    desk = desk_for(house, tmp_path, streams=50)
    counter = Counter(desk, application(desk), house)
    visit = desk.visits.enter("human.ada", house.keys.agents["human.ada"].key_id, desk.now_ms)
    browser = Browser(counter.app)
    browser.cookies["interlock_visit_8470"] = visit.id
    async with desk.feed.running(), anyio.create_task_group() as group:
        streams = [Stream(counter, browser, f"goals,goal.{GOAL},broker") for _ in range(50)]
        for one in streams:
            group.start_soon(one.run)
        for one in streams:
            await one.until(b"event: goals")
        assert desk.feed.listeners == 50
        assert (await browser.get("/events?topics=goals")).status == 503

        async def storm() -> None:
            for number in range(5_000):
                desk.feed._on_status(message(GOAL, tasks_done=number))
                if number % 500 == 0:
                    await anyio.sleep(0)

        await storm()
        for one in streams:
            one.received.clear()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(4):
            await storm()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert after - before < 1_000_000
        assert max(len(one.received) for one in streams) < 200, "conflated"
        for one in streams:
            one.gone.set()
    assert desk.feed.listeners == 0
