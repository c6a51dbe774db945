"""The whole house as operating-system processes: killed at random, it still ends its goals, and does nothing twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from interlock.agents.cli.submission import publish_goal
from interlock.agents.errors import UserError
from interlock.agents.status import GoalStatus, read_audit, read_status
from interlock.agents.supervision.house import AGENTS, House, house
from interlock.agents.supervision.supervisor import Program, Supervision, Supervisor
from interlock.agents.workspace.broker import secure
from interlock.agents.workspace.keys import ensure_keys
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.settings import Settings, load_settings
from scripts.campaigns.lines import SKILLS, goal_of_lines

pytestmark = [pytest.mark.anyio, pytest.mark.process]


async def ended(place: House, goal_id: str, within_s: float = 60) -> GoalStatus:
    with anyio.fail_after(within_s):
        while True:
            status = await read_status(place.transport, "default", goal_id)
            if status is not None and status.phase == "ended":
                return status
            await anyio.sleep(0.01)


async def test_every_role_killed_while_a_goal_runs(tmp_path: Path) -> None:
    """Under a secured broker: what a role does after a crash needs no more rights than what it does before."""
    (tmp_path / "interlock.yaml").write_text(f"write_roots: ['{tmp_path}']\n")
    ensure_keys(Layout(tmp_path), "default")
    secure(Layout(tmp_path))
    settings = load_settings(tmp_path / "interlock.yaml")
    async with house(Layout(tmp_path), settings, skills=[SKILLS]) as place:
        pids = {agent: place.supervisor.pid(agent) for agent in AGENTS}
        assert len(set(pids.values())) == len(AGENTS)
        for agent in AGENTS:
            goal_id = await publish_goal(place.transport, "default", goal_of_lines(tmp_path, agent, 6, pause_ms=60))
            with anyio.fail_after(20):
                while not (status := await read_status(place.transport, "default", goal_id)) or not status.tasks_total:
                    await anyio.sleep(0.005)
            os.kill(place.supervisor.pid(agent), signal.SIGKILL)
            status = await ended(place, goal_id)
            assert status.outcome == "released", (agent, status.grounds)
            with anyio.fail_after(30):
                while (audited := await read_audit(place.transport, "default", goal_id)) is None:
                    await anyio.sleep(0.01)
            assert audited.hops == audited.verified
        lines = Counter((tmp_path / "lines.txt").read_text().splitlines())
        assert lines == Counter(f"{agent}-{n}" for agent in AGENTS for n in range(6)), "an effect was lost or repeated"
        assert all(place.supervisor.deaths[agent] >= 1 for agent in AGENTS)
    assert not [pid for pid in pids.values() if alive(pid)]
    told = (Layout(tmp_path).store / "server.log").read_text()
    assert [line for line in told.splitlines() if "Violation" in line] == []


async def test_a_second_house_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    async with house(Layout(tmp_path), Settings(), agents=()):
        with pytest.raises(UserError, match="already_running"):
            async with house(Layout(tmp_path), Settings(), agents=()):
                pass


async def test_a_crash_loop_ends_with_the_last_words(tmp_path: Path) -> None:
    program = Program("broken", [sys.executable, "-c", "raise SystemExit('no such thing')"])
    supervisor = Supervisor([program], tmp_path, Supervision(restart_ms=1, cap_ms=5, max_deaths=3))
    with pytest.raises(UserError, match="no such thing"):
        async with supervisor.running():
            with anyio.fail_after(20):
                await anyio.sleep_forever()


async def test_what_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    )
    supervisor = Supervisor(
        [Program("stubborn", [sys.executable, "-c", stubborn])], tmp_path, Supervision(grace_ms=100)
    )
    async with supervisor.running():
        pid = supervisor.pid("stubborn")
        with anyio.fail_after(10):
            while "up" not in supervisor.log_of("stubborn").read_text():
                await anyio.sleep(0.01)
    assert not alive(pid)


def test_killing_the_command_line_leaves_nobody_behind(tmp_path: Path) -> None:
    (tmp_path / "goal.json").write_bytes(goal_of_lines(tmp_path, "x", 4, pause_ms=2_000))
    (tmp_path / "interlock.yaml").write_text(f"write_roots: ['{tmp_path}']\nskills: ['{SKILLS}']\n")
    command = [sys.executable, "-m", "interlock.agents", "run", "goal.json", "--dir", str(tmp_path)]
    child = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    output = child.stdout
    assert output is not None
    try:
        wait_for(lambda: "accepted" in output.readline(), 30)
        family = descendants(child.pid)
        assert len(family) >= 8, "server, six roles and the fork server"
    finally:
        child.kill()
        child.wait()
        output.close()
    wait_for(lambda: not any(alive(pid) for pid in family), 10)


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    queue = [pid]
    while queue:
        parent = queue.pop()
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                children = [int(text) for text in task.read_text().split()]
            except OSError:
                continue  # that thread has just ended
            found += children
            queue += children
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition: Callable[[], bool], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
