"""Without word from the broker nobody goes on: neither a role that is cut off, nor a house whose broker stands still."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import msgspec
import pytest

from interlock.agents.cli.submission import publish_goal
from interlock.agents.status import read_status
from interlock.agents.supervision.house import house as whole_house
from interlock.agents.wiring import running
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.settings import load_settings
from interlock.bus.control.giving import give_order
from interlock.bus.control.holder import ControlHolder, ControlSettings
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.sender import Identity
from interlock.bus.server.embedded import EmbeddedServer
from interlock.bus.tasks import background
from interlock.envelope.amounts import clock_ms
from interlock.envelope.ids import new_id
from tests.agents.conftest import InProcess

pytestmark = [pytest.mark.anyio, pytest.mark.nats]
SKILLS = Path(__file__).parents[1] / "skills"


class Wire:
    """A line to the broker that can be cut without either end being told: bytes wait until it is mended."""

    def __init__(self, url: str) -> None:
        self._to = urlsplit(url)
        self._whole = asyncio.Event()
        self._whole.set()
        self.url = ""

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        self._whole.set()

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._joined, "127.0.0.1", 0)
        self.url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield
        finally:
            self.mend()
            server.close()
            await server.wait_closed()

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._to.hostname, self._to.port)
        with closing(writer), closing(far_writer):
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                await self._whole.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


def task(place: Path, name: str, pause_ms: int, after: list[str]) -> dict[str, Any]:
    return {
        "id": name,
        "skill": "appending-line",
        "after": after,
        "input": {"place": str(place), "line": name, "pause_ms": pause_ms},
    }


def lines(place: Path) -> Counter[str]:
    path = place / "lines.txt"
    return Counter(path.read_text().splitlines() if path.exists() else [])


@pytest.mark.parametrize("quiet_house", ["jetstream"], indirect=True)
async def test_an_executor_that_is_cut_off_stops_what_it_runs_and_goes_on_when_it_hears_again(
    quiet_house: InProcess, nats_server: EmbeddedServer
) -> None:
    """Halted and resumed behind its back, while its run would have gone on for long."""
    house, wire, goal_id = quiet_house, Wire(nats_server.url), new_id(clock_ms())
    settings = ControlSettings(lease_ms=400, poll_ms=50)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(wire.laid())
        far = await stack.enter_async_context(JetStreamTransport.connect(wire.url, name="far"))
        group = await stack.enter_async_context(background())
        holders = {}
        for role in ("gateway", "orchestrator", "evaluator", "executor", "auditor", "synthesizer"):
            transport = far if role == "executor" else house.transport
            control = holders[role] = ControlHolder(house.workspace, house.keys, settings)
            group.start_soon(control.follow, transport)
            parts = house.parts(role, transport, control=control, halt_grace_ms=100)
            await stack.enter_async_context(running(role, parts))
        await house.submit(house.goal([task(house.scratch, "one", 1_500, [])]), goal_id)
        await house.until("JOURNAL", 1, "journal", "effect", ">")
        wire.cut()
        human = Identity("human", house.keys.agents["human"])
        await give_order(house.transport, house.workspace, human, "halt", "role:executor", "behind its back")
        with anyio.move_on_after(2.2):
            while not lines(house.scratch):
                await anyio.sleep(0.05)
        assert lines(house.scratch) == Counter(), "it would have written its line by now"
        wire.mend()
        with anyio.fail_after(10):
            while not holders["executor"].in_force:
                await anyio.sleep(0.01)
        assert lines(house.scratch) == Counter()
        await give_order(house.transport, house.workspace, human, "resume", "role:executor", "")
        status = await house.ended(goal_id)
        assert status.outcome == "released", status.grounds
        assert lines(house.scratch) == Counter(["one"])


@pytest.mark.process
async def test_a_house_whose_broker_stands_still_halts_and_goes_on_without_loss(tmp_path: Path) -> None:
    grants = f"write_roots: ['{tmp_path}']\ncontrol: {{lease_ms: 400, poll_ms: 50, grace_ms: 0}}\n"
    (tmp_path / "interlock.yaml").write_text(grants)
    settings = load_settings(tmp_path / "interlock.yaml")
    names = [f"t{n}" for n in range(4)]
    goal = {
        "goal": "leave one line a task",
        "constraints": [],
        "stakeholders": ["Ada"],
        "success_metrics": ["no line twice"],
        "budget_limits": {"costUSD": "1", "wallMs": 10_000_000, "actions": 1000},
        "tasks": [task(tmp_path, name, 1_200, []) for name in names],
    }
    async with (
        EmbeddedServer(tmp_path / "store") as server,
        whole_house(Layout(tmp_path), settings, nats=server.url, skills=[SKILLS]) as place,
    ):
        goal_id = await publish_goal(place.transport, "default", msgspec.json.encode(goal))
        with anyio.fail_after(20):
            while not (status := await read_status(place.transport, "default", goal_id)) or not status.tasks_total:
                await anyio.sleep(0.005)
            subject = ["interlock.default.journal.effect.>"]
            while not [one async for one in place.transport.read("JOURNAL", subject)]:
                await anyio.sleep(0.005)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            with anyio.move_on_after(2):
                while not lines(tmp_path):
                    await anyio.sleep(0.05)
            assert lines(tmp_path) == Counter(), "what ran when the broker fell silent was to be stopped"
        finally:
            os.kill(server.pid, signal.SIGCONT)
        with anyio.fail_after(60):
            while (status := await read_status(place.transport, "default", goal_id)) is None or (
                status.phase != "ended"
            ):
                await anyio.sleep(0.02)
        assert status.outcome == "released", status.grounds
        assert lines(tmp_path) == Counter(names)
