"""Runs in the sandbox: what must not happen does not, each run is charged, and the next one still works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from interlock.skills.manifest import load_skill
from interlock.skills.runner import RunnerSettings, RunRequest, SkillRunner
from interlock.skills.sandbox.enter import missing
from interlock.skills.sandbox.seccomp import build

pytestmark = [pytest.mark.anyio, pytest.mark.process]
HOSTILE = load_skill(Path(__file__).parent / "hostile" / "misbehaving")
APPENDING = load_skill(Path(__file__).parents[1] / "agents" / "skills" / "appending-line")
CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture
async def runner() -> AsyncIterator[SkillRunner]:
    async with SkillRunner.started(RunnerSettings(concurrency=4, grace_ms=100)) as started:
        yield started


def request_for(place: Path, what: str, skill: Any = HOSTILE, **more: Any) -> RunRequest:
    results = place / f"results-{time.monotonic_ns()}"
    results.mkdir()
    settings: dict[str, Any] = {
        "skill": skill, "input": {"what": what}, "files": {}, "read_roots": (), "write_roots": (), "config": CONFIG,
        "now": "2026-01-01T00:00:00.000Z", "seed": 0, "wall_ms": 0, "results": results,
    }  # fmt: skip
    return RunRequest(**settings | more)


ATTEMPTS = [
    ("loop", "cpu_limit", "CPU seconds"),
    ("sleep", "wall_limit", "3000 ms"),
    ("fork", "crashed", "PermissionError"),
    ("exec", "crashed", "PermissionError"),
    ("setsid", "crashed", "PermissionError"),
    ("raw_setsid", "crashed", "PermissionError"),
    ("one_big_file", "disk_limit", ""),
    ("many_files", "disk_limit", ""),
    ("write_outside", "crashed", "PermissionError"),
    ("write_by_link", "crashed", "PermissionError"),
    ("read_secret", "crashed", "PermissionError"),
    ("read_parent", "crashed", "PermissionError"),
    ("connect", "crashed", "PermissionError"),
    ("bind", "crashed", "PermissionError"),
    ("kill_parent", "crashed", "PermissionError"),
    ("kill_itself", "crashed", ""),
    ("memory", "memory_limit", "200 MB"),
    ("recursion", "crashed", "RecursionError"),
    ("print", "output_too_large", "printed"),
    ("huge_result", "output_too_large", "result"),
    ("float", "float_in_output", "$.got.deep[0]"),
    ("exit", "crashed", "no result"),
    ("sys_exit", "crashed", "SystemExit"),
    ("raise", "crashed", "ValueError: broken in two lines"),
    ("result_of_another_type", "crashed", "list"),
    ("odd_file_name", "output_invalid", "plain"),
    ("linked_file", "output_invalid", "plain"),
    ("unknown", "crashed", "KeyError"),
]


@pytest.mark.parametrize(("what", "outcome", "detail"), ATTEMPTS, ids=[attempt[0] for attempt in ATTEMPTS])
async def test_attempts_are_stopped_charged_and_survived(
    runner: SkillRunner, tmp_path: Path, what: str, outcome: str, detail: str
) -> None:
    result = await runner.run(request_for(tmp_path, what))
    assert (result.outcome, detail in result.detail) == (outcome, True), result.detail
    assert "\n" not in result.detail
    assert result.output == {}
    assert result.usage.cpu_us > 0
    assert result.usage.peak_rss_kb > 0
    assert not Path("/tmp/interlock-escaped").exists()
    again = await runner.run(request_for(tmp_path, "nothing"))
    assert again.outcome == "done", again.detail


async def test_the_environment_holds_no_secret(
    runner: SkillRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "do-not-tell")
    result = await runner.run(request_for(tmp_path, "environment"))
    assert result.outcome == "done"
    assert set(result.output["got"]) <= {"HOME", "TMPDIR", "LANG", "PATH", "TZ", "LC_CTYPE"}
    garbage = await runner.run(request_for(tmp_path, "print_garbage"))
    assert (garbage.outcome, "not text" in garbage.log) == ("done", True)


async def test_inputs_are_read_only_and_only_where_allowed(runner: SkillRunner, tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "kept.txt").write_text("kept")
    (allowed / "link").symlink_to("/etc")
    for what in ("write_input", "unlink_input"):
        request = request_for(tmp_path, what, input={"what": what, "path": str(allowed)}, read_roots=(allowed,))
        assert (await runner.run(request)).outcome == "crashed"
    assert (allowed / "kept.txt").read_text() == "kept"
    for path in ("/etc", str(allowed / ".." / ".."), str(allowed / "link"), "", "nul\0", str(allowed) + "x"):
        request = request_for(tmp_path, "nothing", input={"what": "nothing", "path": path}, read_roots=(allowed,))
        result = await runner.run(request)
        assert result.outcome == "path_not_allowed", path
        assert str(allowed) in result.detail, "it says what would be allowed"


@pytest.mark.parametrize("value", [{}, {"what": 1}, {"what": "nothing", "path": 5}])
async def test_inputs_are_checked_against_their_schema(
    runner: SkillRunner, tmp_path: Path, value: dict[str, Any]
) -> None:
    result = await runner.run(request_for(tmp_path, "", input=value))
    assert (result.outcome, result.detail.startswith("$")) == ("input_invalid", True)


async def test_a_narrower_wall_limit_counts(runner: SkillRunner, tmp_path: Path) -> None:
    result = await runner.run(request_for(tmp_path, "sleep", wall_ms=200))
    assert (result.outcome, result.usage.wall_ms < 2_000) == ("wall_limit", True)


async def test_cancelling_ends_the_run(runner: SkillRunner, tmp_path: Path) -> None:
    with anyio.move_on_after(0.3) as scope:
        await runner.run(request_for(tmp_path, "sleep"))
    assert scope.cancelled_caught
    assert children_of(runner.host_pid) == []
    assert (await runner.run(request_for(tmp_path, "nothing"))).outcome == "done"


async def test_a_lost_host_is_told_and_replaced(runner: SkillRunner, tmp_path: Path) -> None:
    first = runner.host_pid
    outcomes = []

    async def run() -> None:
        outcomes.append((await runner.run(request_for(tmp_path, "sleep"))).outcome)

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        with anyio.fail_after(10):
            while not children_of(first):
                await anyio.sleep(0.01)
        family = children_of(first)
        os.kill(first, signal.SIGKILL)
    assert outcomes == ["host_lost"]
    assert (await runner.run(request_for(tmp_path, "nothing"))).outcome == "done"
    assert runner.host_pid != first
    wait_gone(family)


async def test_an_effect_is_checked_not_repeated(runner: SkillRunner, tmp_path: Path) -> None:
    value = {"place": str(tmp_path), "line": "once"}
    request = request_for(tmp_path, "", APPENDING, input=value, write_roots=(tmp_path,))
    assert (await runner.check(request)).outcome == "not_happened"
    assert (await runner.run(request)).output == {"written": "once"}
    checked = await runner.check(request)
    assert (checked.outcome, checked.output) == ("done", {"written": "once"})
    assert (tmp_path / "lines.txt").read_text() == "once\n"


def test_killing_the_executor_ends_its_runs(tmp_path: Path) -> None:
    script = f"""
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_runner as t
async def main():
    async with t.SkillRunner.started() as runner:
        print(runner.host_pid, flush=True)
        await runner.run(t.request_for(Path({str(tmp_path)!r}), "sleep"))
asyncio.run(main())
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    host = int(child.stdout.readline())
    deadline = time.monotonic() + 10
    while not (family := children_of(host)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.kill()
    child.wait()
    child.stdout.close()
    wait_gone([host, *family])


def test_this_machine_isolates() -> None:
    assert missing() == [], "the suite is to run where isolation is complete"


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_is_well_formed(machine: str) -> None:
    program = build(machine, 7, processes=False, network=False)
    assert len(program) % 8 == 0
    assert len(program) // 8 < 256, "jumps are one byte"


def children_of(pid: int) -> list[int]:
    try:
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def wait_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 10
    while any(
        Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
        for pid in pids
    ):
        assert time.monotonic() < deadline, pids
        time.sleep(0.01)
