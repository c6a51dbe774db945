"""Live replay: the recorded tasks run again by the skills of today, their answers held against the recorded ones (AUD-04).

Scored apart from decisions: a skill may name a time or follow a newer table. Skills with effects outside are not run
again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from msgspec import Struct, field

from interlock.agents.execution.results import RETRYABLE
from interlock.agents.replay.recording import Recording
from interlock.envelope.canonical import canonical
from interlock.envelope.model import Envelope
from interlock.envelope.payloads import ArtefactRef, Task, TaskResult
from interlock.envelope.verification import decode

if TYPE_CHECKING:
    from interlock.skills.registry import Registry
    from interlock.skills.runner import RunnerSettings, RunResult, SkillRunner

WANTED_PER_MILLE = 950
# A local copy of a file that a task was given; None where it cannot be had.
FileOf = Callable[[ArtefactRef], Awaitable[Path | None]]


class Grants(Struct, frozen=True):
    """Which directories of the host runs may read, and where configuration is. Nothing of the host is written."""

    read_roots: tuple[Path, ...]
    config: Path


class LiveDifference(Struct, frozen=True, rename="camel"):
    task: str
    skill: str
    recorded: str
    now: str


class LiveReport(Struct, rename="camel", kw_only=True):
    """not_run: tasks with effects outside, without their files or skill, or that never ran; by task, with the reason."""

    run: int = 0
    equal: int = 0
    not_run: dict[str, str] = field(default_factory=dict)
    differences: list[LiveDifference] = field(default_factory=list)

    @property
    def per_mille(self) -> int:
        """Of the tasks run again, those that answered the same; 1000 where none was."""
        return 1000 if not self.run else self.equal * 1000 // self.run

    @property
    def ok(self) -> bool:
        """False where nothing of what there is could be run."""
        return self.per_mille >= WANTED_PER_MILLE and (self.run > 0 or not self.not_run)


async def replay_live(
    recording: Recording, registry: Registry, settings: RunnerSettings, grants: Grants, file_of: FileOf
) -> LiveReport:
    """Runs as many at a time as the settings say."""
    from interlock.skills.runner import SkillRunner

    report, tasks = LiveReport(), answered_tasks(recording)
    limiter = anyio.CapacityLimiter(settings.concurrency)
    with tempfile.TemporaryDirectory(prefix="interlock-replay-") as scratch:
        async with SkillRunner.started(settings) as runner, anyio.create_task_group() as group:

            async def one(number: int, envelope: Envelope, task: Task, recorded: TaskResult) -> None:
                async with limiter:
                    place = Path(scratch) / str(number)
                    place.mkdir(mode=0o700)
                    name = f"{task.task_id}:{task.attempt}"
                    answer = await _again(runner, registry, grants, file_of, envelope, task, recorded, place)
                    if isinstance(answer, str):
                        report.not_run[name] = answer
                        return
                    report.run += 1
                    before, now = _told(recorded), _told_now(answer)
                    if before == now:
                        report.equal += 1
                    else:
                        report.differences.append(LiveDifference(name, task.skill, before[:500], now[:500]))

            for number, entry in enumerate(tasks):
                group.start_soon(one, number, *entry)
    return report


def answered_tasks(recording: Recording) -> list[tuple[Envelope, Task, TaskResult]]:
    """Tasks with the results that were recorded for them, in stream order. Whether they are authentic, the replay of
    decisions says.
    """
    envelopes = [decode(hop.data, recording.limits).envelope for hop in recording.hops]
    results = {
        envelope.parent_id: envelope.payload
        for envelope in envelopes
        if envelope is not None and isinstance(envelope.payload, TaskResult)
    }
    return [
        (envelope, envelope.payload, results[envelope.id])
        for envelope in envelopes
        if envelope is not None and isinstance(envelope.payload, Task) and envelope.id in results
    ]


async def _again(
    runner: SkillRunner,
    registry: Registry,
    grants: Grants,
    file_of: FileOf,
    envelope: Envelope,
    task: Task,
    recorded: TaskResult,
    results: Path,
) -> RunResult | str:
    """The answer, or why it was not run."""
    from interlock.skills.runner import RunRequest

    skill = registry.find(task.skill)
    if skill is None:
        return "unknown_skill"
    if skill.manifest.effects == "external":
        return "external_effects"
    if not recorded.skill_digest or recorded.outcome in RETRYABLE:
        return f"recorded as {recorded.outcome}"
    files: dict[str, Path] = {}
    for ref in task.files:
        path = await file_of(ref)
        if path is None:
            return "file_missing"
        files[ref.name] = path
    return await runner.run(
        RunRequest(
            skill=skill,
            input=task.input,
            files=files,
            read_roots=grants.read_roots,
            write_roots=(),
            config=grants.config,
            now=task.now,
            seed=task.seed,
            wall_ms=envelope.budget.wall_ms,
            results=results,
        )
    )


def _told(result: TaskResult) -> str:
    files = sorted((file.name, file.digest) for file in result.files)
    return f"{result.outcome} {canonical(result.output).decode()} {files}"


def _told_now(answer: RunResult) -> str:
    files = sorted((file.name, file.sha256) for file in answer.files) if answer.outcome == "done" else []
    output = answer.output if answer.outcome == "done" else {}
    return f"{answer.outcome} {canonical(output).decode()} {files}"
