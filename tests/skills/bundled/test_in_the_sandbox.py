"""Every bundled skill in the real runner: no network, no other process, nothing writable but its own place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from interlock.skills.manifest import load_skill
from interlock.skills.runner import RunRequest, RunResult, SkillRunner
from tests.skills.bundled.playbook_run import BUNDLED, CONFIG, NOW, PlaybookRun, goal_for
from tests.skills.bundled.test_release_readiness import SAMPLE

pytestmark = [pytest.mark.anyio, pytest.mark.process]


def request(skill: str, input: dict[str, Any], files: dict[str, Path], results: Path, root: Path) -> RunRequest:
    results.mkdir()
    return RunRequest(
        skill=load_skill(BUNDLED / skill),
        input=input,
        files=files,
        read_roots=(root,),
        write_roots=(),
        config=CONFIG,
        now=NOW,
        seed=7,
        wall_ms=0,
        results=results,
    )


async def test_each_gives_the_same_bytes_as_without_a_sandbox(tmp_path: Path) -> None:
    run = PlaybookRun(goal_for(SAMPLE), tmp_path / "plain")
    results: dict[str, RunResult] = {}
    inputs = run.inputs
    async with SkillRunner.started() as runner:

        async def one(task: str, skill: str, input: dict[str, Any], files: dict[str, Path]) -> None:
            results[task] = await runner.run(request(skill, input, files, tmp_path / f"sandbox-{task}", SAMPLE))

        async with anyio.create_task_group() as group:
            for task, (skill, input, files) in inputs.items():
                group.start_soon(one, task, skill, input, files)
    for task, result in results.items():
        assert (result.outcome, result.detail) == ("done", ""), (task, result.log)
        assert result.output == json.loads(json.dumps(run.outputs[task])), task
        for file in result.files:
            assert file.path.read_bytes() == (tmp_path / "plain" / task / file.name).read_bytes(), file.name


async def test_a_directory_that_was_not_granted_is_refused(tmp_path: Path) -> None:
    async with SkillRunner.started() as runner:
        result = await runner.run(request("mapping-context", {"path": "/etc"}, {}, tmp_path / "out", SAMPLE))
    assert result.outcome == "path_not_allowed"
