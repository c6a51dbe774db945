"""Whole goals on a running house: latency, throughput, cold start, memory, growth with the number of tasks."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import msgspec

from interlock.agents.cli.submission import publish_goal
from interlock.agents.status import BUCKET, GoalStatus
from interlock.agents.supervision.house import AGENTS, House, house
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.settings import Settings
from interlock.bus.kv import kv_entries

SKILLS = Path(__file__).resolve().parents[2] / "tests" / "agents" / "skills"


def goal(tasks: int) -> bytes:
    return msgspec.json.encode(
        {
            "goal": "measure",
            "constraints": [],
            "stakeholders": ["nobody"],
            "success_metrics": ["a figure"],
            "budget_limits": {"costUSD": "1", "wallMs": 10**8, "actions": 5_000},
            "tasks": [{"id": f"t{number}", "skill": "doing-nothing"} for number in range(tasks)],
        }
    )


class Watch:
    """Learns of ends as they are published, without asking: a clock that ticks would take its share of what is measured."""

    def __init__(self) -> None:
        self.ended: dict[str, float] = {}
        self._waiting: dict[str, anyio.Event] = {}

    async def follow(self, place: House) -> None:
        async with aclosing(kv_entries(place.transport, BUCKET, "default", follow=True)) as entries:
            async for entry in entries:
                if not entry.key.endswith(".audit"):
                    status = msgspec.json.decode(entry.value, type=GoalStatus)
                    if status.phase == "ended" and status.goal_id not in self.ended:
                        self.ended[status.goal_id] = time.perf_counter()
                        if status.goal_id in self._waiting:
                            self._waiting.pop(status.goal_id).set()

    async def until(self, goal_id: str) -> float:
        with anyio.fail_after(120):
            if goal_id not in self.ended:
                await self._waiting.setdefault(goal_id, anyio.Event()).wait()
        return self.ended[goal_id]


def rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


async def on_a_house() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as place:
        async with house(Layout(Path(place)), Settings(), skills=[SKILLS]) as here, anyio.create_task_group() as group:
            watch = Watch()
            group.start_soon(watch.follow, here)
            figures = {"role_rss_mb": max(rss_mb(here.supervisor.pid(agent)) for agent in AGENTS)}
            samples = []
            for _ in range(20):
                began = time.perf_counter()
                goal_id = await publish_goal(here.transport, "default", goal(5))
                samples.append(await watch.until(goal_id) - began)
            figures["goal5_p50_ms"] = statistics.median(samples) * 1000
            figures |= await many(here, watch, 200)
            per_task = {}
            for tasks in (10, 100, 1000):
                began = time.perf_counter()
                goal_id = await publish_goal(here.transport, "default", goal(tasks))
                per_task[tasks] = (await watch.until(goal_id) - began) * 1000 / tasks
                figures[f"task_ms.of_{tasks}"] = per_task[tasks]
            figures["tasks_slope"] = per_task[1000] / per_task[100]
            group.cancel_scope.cancel()
    return figures


async def many(here: House, watch: Watch, count: int) -> dict[str, float]:
    """All at once; every one must end."""
    ids: list[str] = []

    async def one() -> None:
        ids.append(await publish_goal(here.transport, "default", goal(5)))

    began = time.perf_counter()
    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(one)
    last = max([await watch.until(goal_id) for goal_id in ids])
    return {"goals_per_s": count / (last - began), "goals_lost": count - len(set(ids))}


def cold_start_s() -> float:
    """From the command to the goal's acceptance, which is the first thing a run has to show for itself."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "goal.json"
        path.write_bytes(goal(1))
        (Path(place) / "interlock.yaml").write_text(f"skills: ['{SKILLS}']\n")
        command = [sys.executable, "-m", "interlock.agents", "run", str(path), "--dir", place]
        began = time.perf_counter()
        child = subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, text=True)
        found = 0.0
        for line in child.stdout or []:
            if "accepted" in line and not found:
                found = time.perf_counter() - began
        child.wait()
        return found


def measure() -> dict[str, Any]:
    figures: dict[str, Any] = anyio.run(on_a_house)
    return figures | {"cold_start_s": cold_start_s()}
