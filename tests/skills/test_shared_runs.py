"""Runs of one goal and skill in one process: what is shared, what is not, and that no limit is lost by it (ADR 11)."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from interlock.skills.cell import IDLE_S, MAX_RUNS
from interlock.skills.host import MAX_RESTING
from interlock.skills.manifest import Skill, load_skill, parse_skill
from interlock.skills.runner import RunResult, SkillRunner
from tests.skills.test_runner import ATTEMPTS, FORKING, HOSTILE, descendants_of, request_for, scratches, wait_gone

pytestmark = [pytest.mark.anyio, pytest.mark.process]


async def run(runner: SkillRunner, place: Path, what: str, goal: str = "one", **more: Any) -> RunResult:
    return await runner.run(request_for(place, what, goal=goal, **more))


async def process(
    runner: SkillRunner, place: Path, what: str = "process", goal: str = "one", skill: Skill = HOSTILE
) -> int:
    result = await run(runner, place, what, goal, skill=skill)
    assert result.outcome == "done", result.detail
    return int(result.output["process"])


async def test_runs_of_one_goal_share_a_process_and_others_do_not(runner: SkillRunner, tmp_path: Path) -> None:
    first = await process(runner, tmp_path)
    assert [await process(runner, tmp_path) for _ in range(3)] == [first] * 3
    others = [await process(runner, tmp_path, goal=goal) for goal in ("two", "", "")]
    assert len({first, *others}) == 4, "another goal has another, and what belongs to no goal is alone"
    folder = tmp_path / "misbehaving"
    shutil.copytree(HOSTILE.directory, folder, ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / "SKILL.md").open("a") as file:
        file.write("Another version.\n")
    assert await process(runner, tmp_path, skill=load_skill(folder)) not in (first, *others)
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    value = {"what": "process", "path": str(allowed)}
    for _ in range(10):  # a process that nobody wants for a while is ended, which a busy machine may be slow enough for
        waiting = await process(runner, tmp_path)
        confined_otherwise = await run(runner, tmp_path, "", input=value, read_roots=(allowed,))
        assert confined_otherwise.output["process"] != waiting
        if await process(runner, tmp_path) == waiting:
            break
    else:
        pytest.fail("no process waited for its goal's next run")


@pytest.mark.parametrize(
    ("more", "may"),
    [
        ("", True),
        ("reuse: false", False),
        ("effects: external", False),
        ("network: true", False),
        ("approval: required", False),
        ("limits: {processes: 1}", False),
        ("files: {produces: ['*.md']}", False),
    ],
)
async def test_which_skills_may_share(more: str, may: bool) -> None:
    manifest, _ = parse_skill(f"---\nname: x\nversion: 1.0.0\ndescription: y\n{more}\n---\nz", "SKILL.md")
    assert manifest.may_share is may


async def test_a_run_begins_afresh(runner: SkillRunner, tmp_path: Path) -> None:
    first = await process(runner, tmp_path, "keep_in_the_module")
    result = await run(runner, tmp_path, "process")
    assert (result.output["process"], result.output["kept"], result.output["there"]) == (first, 0, [])
    assert result.output["home"] != "elsewhere"
    assert (await run(runner, tmp_path, "print_garbage")).log.endswith("not text"), "its own log"
    assert (await run(runner, tmp_path, "process")).log == ""


@pytest.mark.parametrize("what", ["file", "result", "descriptor", "thread", "memory"])
async def test_what_a_run_leaves_behind_ends_its_process(runner: SkillRunner, tmp_path: Path, what: str) -> None:
    first = await process(runner, tmp_path)
    assert await process(runner, tmp_path, f"keep_a_{what}" if what != "memory" else "keep_memory") == first
    after = await run(runner, tmp_path, "process")
    assert after.output["process"] != first
    assert after.output["there"] == []
    wait_gone([first])


async def test_files_of_a_run_are_handed_on(runner: SkillRunner, tmp_path: Path) -> None:
    await process(runner, tmp_path)
    result = await run(runner, tmp_path, "keep_a_result")
    assert (result.outcome, [file.name for file in result.files]) == ("done", ["result.txt"])
    assert result.files[0].path.read_text() == "made"


SLOW = ("stop_itself", "many_files", "hide_in_a_socket")


@pytest.mark.parametrize(
    ("what", "outcome", "detail"),
    [attempt for attempt in ATTEMPTS if attempt[0] not in SLOW],
    ids=[attempt[0] for attempt in ATTEMPTS if attempt[0] not in SLOW],
)
async def test_attempts_are_stopped_in_a_used_process_too(
    runner: SkillRunner, tmp_path: Path, what: str, outcome: str, detail: str
) -> None:
    first = await process(runner, tmp_path)
    wall_ms = 500 if outcome == "wall_limit" else 0
    result = await run(runner, tmp_path, what, wall_ms=wall_ms)
    assert (result.outcome, detail in result.detail) == (outcome, True), result.detail
    assert result.usage.cpu_us > 0
    assert [path for path in tmp_path.glob("results-*/*") if path.name != "kept"] == []
    if outcome not in ("float_in_output", "output_invalid", "skill_error"):
        assert await process(runner, tmp_path) != first, "it is used no more"
        wait_gone([first])


async def test_each_run_is_charged_for_itself(runner: SkillRunner, tmp_path: Path) -> None:
    first = await run(runner, tmp_path, "burn")
    second = await run(runner, tmp_path, "process")
    third = await run(runner, tmp_path, "burn")
    assert first.output["process"] == second.output["process"] == third.output["process"]
    assert first.usage.cpu_us > 190_000
    assert 0 < second.usage.cpu_us < 100_000
    assert 190_000 < third.usage.cpu_us < 350_000
    large = await run(runner, tmp_path, "touch_memory", "memory")
    small = await run(runner, tmp_path, "process", "memory")
    assert small.output["process"] == large.output["process"]
    assert large.usage.peak_rss_kb > 40 << 10
    assert 0 < small.usage.peak_rss_kb < large.usage.peak_rss_kb - (20 << 10)


async def test_the_cpu_limit_is_that_of_each_run(runner: SkillRunner, tmp_path: Path) -> None:
    for _ in range(2):
        await process(runner, tmp_path, "burn")
    result = await run(runner, tmp_path, "loop")
    assert (result.outcome, result.detail) == ("cpu_limit", "it used more than 1 CPU seconds")
    assert result.usage.cpu_us >= 1_000_000, "what earlier runs used is not taken from it"


async def test_who_works_on_after_his_answer_is_ended(runner: SkillRunner, tmp_path: Path) -> None:
    early = await process(runner, tmp_path, "answer_early")
    wait_gone([early])
    assert await process(runner, tmp_path) != early
    twice = await run(runner, tmp_path, "answer_twice")
    assert (twice.outcome, "no result" in twice.detail) == ("crashed", True)
    alarmed = await process(runner, tmp_path, "alarm")
    wait_gone([alarmed])
    assert await process(runner, tmp_path) != alarmed


async def test_long_runs_do_not_wait_for_each_other(runner: SkillRunner, tmp_path: Path) -> None:
    began = time.monotonic()
    results = await asyncio.gather(*(run(runner, tmp_path, "sleep", wall_ms=600) for _ in range(4)))
    assert [result.outcome for result in results] == ["wall_limit"] * 4
    assert time.monotonic() - began < 4 * 0.6, "one after another they would take longer"


async def test_a_run_that_waits_can_be_cancelled(runner: SkillRunner, tmp_path: Path) -> None:
    for attempt in range(12):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(run, runner, tmp_path, "sleep")
            await anyio.sleep(0.005 * attempt)
            group.cancel_scope.cancel()
    assert (await run(runner, tmp_path, "process")).outcome == "done"
    assert len(scratches(runner)) <= 2, "that of the process which rests"


async def test_processes_rest_for_a_while_only(runner: SkillRunner, tmp_path: Path) -> None:
    idle = descendants_of(runner.host_pid)
    first = [await process(runner, tmp_path, goal=f"g{number}") for number in range(MAX_RESTING + 4)]
    with anyio.fail_after(20):
        while len(resting := descendants_of(runner.host_pid) - idle) > MAX_RESTING:
            await anyio.sleep(0.01)  # those beyond are still dying
    assert resting < set(first)
    deadline = time.monotonic() + 20 * IDLE_S
    while descendants_of(runner.host_pid) != idle:
        assert time.monotonic() < deadline
        await anyio.sleep(0.02)
    assert scratches(runner) == []


async def test_a_process_serves_so_many_runs(runner: SkillRunner, tmp_path: Path) -> None:
    seen = [await process(runner, tmp_path) for _ in range(MAX_RUNS + 1)]
    assert max(seen.count(one) for one in seen) <= MAX_RUNS
    assert seen[-1] != seen[0]


async def test_a_dead_process_is_replaced(runner: SkillRunner, tmp_path: Path) -> None:
    for _ in range(5):
        resting = await process(runner, tmp_path)
        os.kill(resting, 9)
        result = await run(runner, tmp_path, "process")
        assert (result.outcome, result.output.get("process")) != ("done", resting)
        assert result.outcome in ("done", "crashed"), "handed over in the moment of its end"


async def test_a_large_input_is_handed_over(runner: SkillRunner, tmp_path: Path) -> None:
    first = await process(runner, tmp_path)
    result = await run(runner, tmp_path, "", input={"what": "process", "more": "x" * 200_000})
    assert (result.outcome, result.output["process"] != first) == ("done", True)


async def test_a_skill_that_may_fork_is_alone(runner: SkillRunner, tmp_path: Path) -> None:
    assert (await run(runner, tmp_path, "daemon", skill=FORKING)).outcome == "done"
    assert len(descendants_of(runner.host_pid)) <= 2, "guard and zygote: nobody rests"
