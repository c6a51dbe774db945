"""Runs in the sandbox: what must not happen does not, each run is charged, and the next one still works."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from interlock.skills.manifest import load_skill
from interlock.skills.runner import RunRequest, SkillRunner
from interlock.skills.sandbox.enter import missing

pytestmark = [pytest.mark.anyio, pytest.mark.process]
HOSTILE = load_skill(Path(__file__).parent / "hostile" / "misbehaving")
FORKING = load_skill(Path(__file__).parent / "hostile" / "forking")
APPENDING = load_skill(Path(__file__).parents[1] / "agents" / "skills" / "appending-line")
CONFIG = Path(__file__).parents[2] / "config"


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
    ("sleep", "wall_limit", "500 ms"),
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
    ("forge_nested", "crashed", "no result"),
    ("forge_deep", "output_invalid", "nests deeper"),
    ("forge_integer", "output_invalid", "$.a"),
    ("forge_surrogate", "crashed", "no result"),
    ("forge_detail", "skill_error", "two lines"),
    ("forge_unknown", "crashed", "no result"),
    ("long_key", "float_in_output", "kkk"),
    ("big_integer", "output_invalid", "$.got is an integer"),
    ("realtime_signal", "crashed", "signal 40"),
    ("stop_itself", "wall_limit", "500 ms"),
    ("kill_by_sigkill", "crashed", "PermissionError"),
    ("tgkill_itself", "crashed", "SIGKILL"),
    ("deep_directories", "disk_limit", "files"),
    ("deep_directories_in_out", "disk_limit", "files"),
    ("unlinked_files", "disk_limit", "10 MB"),
    ("hide_in_a_socket", "crashed", "PermissionError"),
    ("memfd", "crashed", "PermissionError"),
    ("shared_memory", "crashed", "PermissionError"),
    ("limit_the_host", "crashed", "PermissionError"),
    ("slow_the_host", "crashed", "PermissionError"),
    ("outlive_the_host", "crashed", "PermissionError"),
    ("signal_by_descriptor", "crashed", "PermissionError"),
    ("read_through_proc", "crashed", "PermissionError"),
    ("write_through_proc", "crashed", "PermissionError"),
    ("write_to_the_skill", "crashed", "PermissionError"),
    ("unix_socket", "crashed", "PermissionError"),
]


@pytest.mark.parametrize(("what", "outcome", "detail"), ATTEMPTS, ids=[attempt[0] for attempt in ATTEMPTS])
async def test_attempts_are_stopped_charged_and_survived(
    runner: SkillRunner, tmp_path: Path, what: str, outcome: str, detail: str
) -> None:
    wall_ms = 500 if outcome == "wall_limit" else 0
    result = await runner.run(request_for(tmp_path, what, wall_ms=wall_ms))
    assert (result.outcome, detail in result.detail) == (outcome, True), result.detail
    assert "\n" not in result.detail
    assert result.output == {}
    assert result.usage.cpu_us > 0
    assert result.usage.peak_rss_kb > 0
    assert not Path("/tmp/interlock-escaped").exists()
    assert len(result.detail) <= 600
    assert result.detail.isprintable()
    assert [path.name for path in scratches(runner)] == []
    assert [path for path in tmp_path.glob("results-*/*") if path.name != "kept"] == [], (
        "nothing is left of a failed run"
    )
    again = await runner.run(request_for(tmp_path, "nothing"))
    assert again.outcome == "done", again.detail


async def test_the_environment_holds_no_secret(
    runner: SkillRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "do-not-tell")
    result = await runner.run(request_for(tmp_path, "environment"))
    assert result.outcome == "done"
    assert set(result.output["got"]) <= {"HOME", "TMPDIR", "LANG", "PATH", "TZ", "LC_CTYPE"}
    descriptors = await runner.run(request_for(tmp_path, "descriptors"))
    assert descriptors.output == {"got": [0, 1, 2, 3]}, "none of the host's but the pipes"
    assert (await runner.run(request_for(tmp_path, "closed_output"))).output == {"got": "closed"}
    rung = await runner.run(request_for(tmp_path, "control_characters"))
    assert rung.log == "\ufffd[2J\ufffd rung\n", "a log does nothing to a terminal"
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
        assert "input_roots of interlock.yaml" in result.detail, "and where"


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
    idle = descendants_of(runner.host_pid)
    with anyio.move_on_after(0.3) as scope:
        await runner.run(request_for(tmp_path, "sleep"))
    assert scope.cancelled_caught
    assert descendants_of(runner.host_pid) == idle
    assert (await runner.run(request_for(tmp_path, "nothing"))).outcome == "done"


async def test_cancelling_at_any_moment_leaves_a_sound_host(runner: SkillRunner, tmp_path: Path) -> None:
    """Also before the child has made its process group, and while it is being forked."""
    host, idle = runner.host_pid, descendants_of(runner.host_pid)
    for attempt in range(60):
        run = asyncio.create_task(runner.run(request_for(tmp_path, "nothing")))
        await asyncio.sleep(0.0002 * (attempt % 12))
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
    assert (await runner.run(request_for(tmp_path, "nothing"))).outcome == "done"
    assert (runner.host_pid, descendants_of(host)) == (host, idle)
    assert scratches(runner) == []


async def test_a_lost_host_is_told_and_replaced(runner: SkillRunner, tmp_path: Path) -> None:
    first = runner.host_pid
    idle = descendants_of(first)
    outcomes = []

    async def run() -> None:
        outcomes.append((await runner.run(request_for(tmp_path, "sleeping_family", FORKING))).outcome)

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        family = await family_of(first, idle, 3)
        os.kill(first, signal.SIGKILL)
    assert outcomes == ["host_lost"]
    again = [(await runner.run(request_for(tmp_path, "nothing"))).outcome for _ in range(2)]
    assert again[0] in ("done", "host_lost")
    assert again[1] == "done"
    assert runner.host_pid != first
    wait_gone(family)


async def test_a_host_that_hangs_is_ended(runner: SkillRunner, tmp_path: Path) -> None:
    first = runner.host_pid
    os.kill(first, signal.SIGSTOP)
    with anyio.move_on_after(0.1):
        await runner.run(request_for(tmp_path, "nothing"))
    wait_gone([first])
    # A run handed over before the loop has heard of the end is told so; the one after it has a new host.
    outcomes = [(await runner.run(request_for(tmp_path, "nothing"))).outcome for _ in range(2)]
    assert outcomes[0] in ("done", "host_lost")
    assert outcomes[1] == "done"


async def test_nothing_remains_of_a_runner(tmp_path: Path) -> None:
    async with SkillRunner.started() as runner:
        await runner.run(request_for(tmp_path, "nothing"))
        place, host, idle = runner._place, runner.host_pid, descendants_of(runner.host_pid)
        async with anyio.create_task_group() as group:
            group.start_soon(runner.run, request_for(tmp_path, "sleeping_family", FORKING))
            family = await family_of(host, idle, 3)
            group.cancel_scope.cancel()
    wait_gone([host, *idle, *family])
    assert not place.exists()


async def test_a_skill_that_changed_since_it_was_loaded_does_not_run(runner: SkillRunner, tmp_path: Path) -> None:
    folder = tmp_path / "misbehaving"
    shutil.copytree(HOSTILE.directory, folder, ignore=shutil.ignore_patterns("__pycache__"))
    skill = load_skill(folder)
    assert skill.digest == HOSTILE.digest
    assert (await runner.run(request_for(tmp_path, "nothing", skill))).outcome == "done"
    os.utime(folder / "handler.py", (1, 1))
    assert (await runner.run(request_for(tmp_path, "nothing", skill))).outcome == "done", "only the time changed"
    (folder / "handler.py").write_text("def run(task): return {}\n")
    changed = await runner.run(request_for(tmp_path, "nothing", skill))
    assert (changed.outcome, "changed since it was loaded" in changed.detail) == ("skill_error", True)
    assert (await runner.run(request_for(tmp_path, "nothing", load_skill(folder)))).outcome == "done"
    shutil.rmtree(folder)
    assert (await runner.run(request_for(tmp_path, "nothing", skill))).outcome == "skill_error"


@pytest.mark.parametrize("source", ["def run(", "x = " + "(" * 5_000, "x = 1\0", "\udcff"])
async def test_a_handler_that_is_no_python_is_told(runner: SkillRunner, tmp_path: Path, source: str) -> None:
    folder = tmp_path / "misbehaving"
    folder.mkdir()
    (folder / "SKILL.md").write_bytes((HOSTILE.directory / "SKILL.md").read_bytes())
    (folder / "handler.py").write_bytes(source.encode(errors="surrogateescape"))
    host = runner.host_pid
    result = await runner.run(request_for(tmp_path, "nothing", load_skill(folder)))
    assert (result.outcome, runner.host_pid) == ("crashed", host)


GRANTED = [
    ("execute", "done", "42"),
    ("many_in_a_row", "done", 20),
    ("orphans_in_a_row", "done", 20),
    ("daemon", "done", None),
    ("fork_bomb", "process_limit", None),
    ("burn_together", "cpu_limit", None),
    ("eat_together", "memory_limit", None),
    ("connect", "crashed", None),
]


@pytest.mark.parametrize(("what", "outcome", "got"), GRANTED, ids=[case[0] for case in GRANTED])
async def test_granted_processes_are_watched_together(
    runner: SkillRunner, tmp_path: Path, what: str, outcome: str, got: Any
) -> None:
    idle = descendants_of(runner.host_pid)
    result = await runner.run(request_for(tmp_path, what, FORKING))
    assert (result.outcome, result.output.get("got")) == (outcome, got), result.detail
    assert descendants_of(runner.host_pid) == idle, "the whole family is gone before the run is reported"
    if what == "burn_together":
        assert result.usage.cpu_us > 900_000, "the children are charged too"
    assert (await runner.run(request_for(tmp_path, "nothing"))).outcome == "done"


async def test_an_effect_is_checked_not_repeated(runner: SkillRunner, tmp_path: Path) -> None:
    value = {"place": str(tmp_path), "line": "once"}
    request = request_for(tmp_path, "", APPENDING, input=value, write_roots=(tmp_path,))
    assert (await runner.check(request)).outcome == "not_happened"
    assert (await runner.run(request)).output == {"written": "once"}
    checked = await runner.check(request)
    assert (checked.outcome, checked.output) == ("done", {"written": "once"})
    assert (tmp_path / "lines.txt").read_text() == "once\n"


@pytest.mark.parametrize("hostile", ["HOSTILE, 'sleep'", "FORKING, 'sleeping_family'"])
def test_killing_the_executor_ends_its_runs(tmp_path: Path, hostile: str) -> None:
    script = f"""
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_runner as t
skill, what = t.{hostile}
async def main():
    async with t.SkillRunner.started() as runner:
        print(runner.host_pid, runner._place, flush=True)
        await runner.run(t.request_for(Path({str(tmp_path)!r}), what, skill))
asyncio.run(main())
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    host, place = child.stdout.readline().split()
    family: set[int] = set()
    deadline = time.monotonic() + 10
    while len(family := descendants_of(int(host))) < (5 if "FORKING" in hostile else 3):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.kill()
    child.wait()
    child.stdout.close()
    wait_gone([int(host), *family])
    assert not Path(place).exists(), "and nothing of it is left on the disk"


def test_this_machine_isolates() -> None:
    assert missing() == (), "the suite is to run where isolation is complete"


def scratches(runner: SkillRunner) -> list[Path]:
    return list(runner._place.glob("run-*"))


async def family_of(host: int, idle: set[int], size: int) -> list[int]:
    """The run's processes, once there are that many."""
    with anyio.fail_after(10):
        while len(family := descendants_of(host) - idle) < size:
            await anyio.sleep(0.01)
    return sorted(family)


def descendants_of(pid: int) -> set[int]:
    children = children_of(pid)
    return set(children).union(*(descendants_of(child) for child in children))


def children_of(pid: int) -> list[int]:
    try:
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def wait_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 10
    while any(living(pid) for pid in pids):
        assert time.monotonic() < deadline, pids
        time.sleep(0.01)


def living(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except (FileNotFoundError, ProcessLookupError):
        return False
