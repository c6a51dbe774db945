"""Running skills from the executor: check, hand to the fork server, check again, hand back (agents.md)."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
import msgspec
from msgspec import Struct

from interlock.skills.cost import RunUsage
from interlock.skills.errors import SkillsError
from interlock.skills.host_link import HostLink
from interlock.skills.manifest import FILE_NAME, Seal, Skill, folder_digest, seal_of
from interlock.skills.protocol import Outcome, RunOrder, RunReport
from interlock.skills.schemas import check, path_properties
from interlock.skills.watch.disk import clear, remove_tree

Mode = Literal["run", "check"]
# Asked when nothing but the start itself is left to do: the time on `clock.boot_s` by which the handler must be called,
# 0 for none. It raises if the run may not begin.
BeginBy = Callable[[], float]
MB = 1 << 20
# What may be looked at without a thread of its own.
SOON_DONE_FILES = 64
SOON_DONE_BYTES = 32 * 1024


class RunnerSettings(Struct, frozen=True, kw_only=True):
    """concurrency: runs at a time. isolation strict refuses to run where the kernel cannot isolate. grace_ms: what a
    cancelled run has left.
    """

    concurrency: int = 4
    isolation: Literal["strict", "best_effort"] = "strict"
    grace_ms: int = 500


class RunRequest(Struct, frozen=True, kw_only=True):
    """One run. files: by name, read-only. read_roots, write_roots: under which directories of the host an input may
    name one. wall_ms: a narrower wall limit, 0 for none. results: where produced files are to be put; the caller's. goal: runs
    of one goal with one skill may share a process where the skill allows it; empty: this one shares none.
    """

    skill: Skill
    input: dict[str, Any]
    files: Mapping[str, Path]
    read_roots: tuple[Path, ...]
    write_roots: tuple[Path, ...]
    config: Path
    now: str
    seed: int
    wall_ms: int
    results: Path
    goal: str = ""


class RunFile(Struct, frozen=True):
    name: str
    sha256: str
    size: int
    path: Path


class RunResult(Struct, frozen=True, kw_only=True):
    """What came of it. detail: one line; log: the tail of what it printed."""

    outcome: Outcome
    detail: str = ""
    output: dict[str, Any] = {}
    files: list[RunFile] = []
    usage: RunUsage = RunUsage()
    log: str = ""


class SkillRunner:
    """`async with SkillRunner.started(settings) as runner`. Ends every run when it ends, or is killed."""

    def __init__(self, settings: RunnerSettings, place: Path) -> None:
        self._settings = settings
        self._place = place
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._numbers = itertools.count(1)
        self._starting: asyncio.Task[HostLink] | None = None
        self._seals: dict[Path, Seal] = {}

    @classmethod
    @asynccontextmanager
    async def started(cls, settings: RunnerSettings | None = None) -> AsyncIterator[SkillRunner]:
        """Starts the fork server at once, so that the first run need not wait for it. Raises OSError."""
        place = Path(tempfile.mkdtemp(prefix="interlock-runs-"))
        runner = cls(settings or RunnerSettings(), place)
        try:
            await runner._link()
            yield runner
        finally:
            with anyio.CancelScope(shield=True):
                await runner._end()
                await anyio.to_thread.run_sync(remove_tree, place)

    @property
    def is_strict(self) -> bool:
        """Whether no run, and nothing that it started, can go on after it was answered."""
        return self._settings.isolation == "strict"

    @property
    def host_pid(self) -> int:
        """The fork server's process id, 0 if it is not running."""
        task = self._starting
        if task is None or not task.done() or task.cancelled() or task.exception() or not task.result().alive:
            return 0
        return task.result().pid

    async def run(self, request: RunRequest, begin_by: BeginBy | None = None) -> RunResult:
        """Runs the handler once. Never raises for what the skill does; cancelling ends the run. begin_by: see BeginBy;
        what it raises comes out.
        """
        return await self._go(request, "run", begin_by)

    async def check(self, request: RunRequest, begin_by: BeginBy | None = None) -> RunResult:
        """Asks the handler's `check` whether an interrupted effect happened: done, not_happened, or a failure."""
        return await self._go(request, "check", begin_by)

    async def _go(self, request: RunRequest, mode: Mode, begin_by: BeginBy | None) -> RunResult:
        problems = check(request.input, request.skill.manifest.input)
        if problems:
            detail = "; ".join(f"{path}: {text}" for path, text in problems)[:2000]
            return RunResult(outcome="input_invalid", detail=detail)
        paths = _paths(request)
        if isinstance(paths, str):
            return RunResult(outcome="path_not_allowed", detail=paths)
        readable, writable = paths
        async with self._slots:
            changed = await self._changed(request.skill)
            if changed:
                return RunResult(outcome="skill_error", detail=changed)
            try:
                link = await self._link()
            except OSError as error:
                return RunResult(outcome="host_lost", detail=f"the fork server does not start: {error}")
            order = self._order(request, mode, readable, writable)
            if begin_by is not None:
                order = msgspec.structs.replace(order, begin_by_s=begin_by())
            report = await link.run(order, self._settings.grace_ms)
        size = len(msgspec.json.encode(report.output))
        if size <= SOON_DONE_BYTES and not any(request.results.iterdir()):
            return _result_of(request, report, mode, size)
        return await anyio.to_thread.run_sync(_result_of, request, report, mode, size)

    async def _changed(self, skill: Skill) -> str:
        """As _compare: in a thread, which costs more than looking at a few files, only for large folders."""
        known = self._seals.get(skill.directory)
        if known is not None and len(known) <= SOON_DONE_FILES:
            return self._compare(skill)
        return await anyio.to_thread.run_sync(self._compare, skill)

    def _compare(self, skill: Skill) -> str:
        """Empty, or that the folder no longer holds what was loaded: its digest would be a lie in the attestation."""
        known = self._seals.get(skill.directory)
        try:
            seal = seal_of(skill.directory)
            if known != seal and folder_digest(skill.directory) == skill.digest:
                known = self._seals[skill.directory] = seal
        except (OSError, SkillsError) as error:
            return f"the skill {skill.name} cannot be read any more: {error}"
        return "" if known == seal else f"the files of {skill.name} changed since it was loaded; restart to load them"

    def _order(self, request: RunRequest, mode: Mode, readable: list[str], writable: list[str]) -> RunOrder:
        manifest, limits = request.skill.manifest, request.skill.manifest.limits
        name = f"run-{next(self._numbers)}"
        wall_ms = limits.wall_seconds * 1000
        return RunOrder(
            id=name,
            mode=mode,
            handler=str(request.skill.handler),
            input=request.input,
            files={name: str(path) for name, path in request.files.items()},
            config=str(request.config),
            now=request.now,
            seed=request.seed,
            scratch=str(self._place / name),
            out=str(request.results),
            readable=readable,
            writable=writable,
            cpu_seconds=limits.cpu_seconds,
            wall_ms=min(wall_ms, request.wall_ms) if request.wall_ms else wall_ms,
            memory_bytes=limits.memory_mb * MB,
            scratch_bytes=limits.scratch_mb * MB,
            output_bytes=limits.output_kb * 1024,
            max_files=limits.files,
            processes=limits.processes,
            network=manifest.network,
            strict=self.is_strict,
            share=self._share(request) if mode == "run" else "",
        )

    def _share(self, request: RunRequest) -> str:
        """Empty for a run that is alone. Files of a shared process are moved, so they must not change file systems."""
        if not (request.goal and self.is_strict and request.skill.manifest.may_share):
            return ""
        if request.results.stat().st_dev != self._place.stat().st_dev:
            return ""
        return f"{request.goal} {request.skill.digest}"

    async def _link(self) -> HostLink:
        """The running host; a new one if there is none. Whoever is cancelled meanwhile leaves it to the next."""
        task = self._starting
        if task is None or (task.done() and not self.host_pid):
            task = self._starting = asyncio.create_task(HostLink.start(self._place))
        return await asyncio.shield(task)

    async def _end(self) -> None:
        if self._starting is not None:
            (link,) = await asyncio.gather(self._starting, return_exceptions=True)
            if isinstance(link, HostLink):
                await link.end()


def _paths(request: RunRequest) -> tuple[list[str], list[str]] | str:
    """(readable, writable) directories that the input names, or why one may not be used."""
    readable: list[str] = []
    writable: list[str] = []
    for name, kind in path_properties(request.skill.manifest.input):
        value = request.input.get(name)
        if value is None:
            continue
        roots, named = (
            (request.write_roots, "write_roots")
            if kind == "writable-directory"
            else (request.read_roots, "input_roots")
        )
        real = "" if "\0" in str(value) else os.path.realpath(str(value))
        if not real or not any(_is_within(real, os.path.realpath(root)) for root in roots):
            allowed = ", ".join(str(root) for root in roots) or "none"
            return (
                f"$.{name}: {value} is not under the {named} of interlock.yaml, where runs may go; these are: {allowed}"
            )
        if not Path(real).is_dir():
            return f"$.{name}: {value} is no directory"
        (writable if kind == "writable-directory" else readable).append(real)
    return readable, writable


def _is_within(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def _result_of(request: RunRequest, report: RunReport, mode: str, size: int) -> RunResult:
    """size: of the output, in bytes."""
    usage = RunUsage(report.cpu_us, report.wall_ms, report.peak_rss_kb)
    outcome, detail = report.outcome, report.detail
    files: list[RunFile] = []
    output = report.output if isinstance(report.output, dict) else {}
    if outcome == "done" and mode == "run":
        outcome, detail, files = _judge_output(request, output, size)
    if outcome != "done":
        output, files = {}, []
        clear(request.results)
    return RunResult(outcome=outcome, detail=detail, output=output, files=files, usage=usage, log=report.log)


def _judge_output(request: RunRequest, output: dict[str, Any], size: int) -> tuple[Outcome, str, list[RunFile]]:
    manifest = request.skill.manifest
    problems = check(output, manifest.output)
    if problems:
        return "output_invalid", "; ".join(f"{path}: {text}" for path, text in problems)[:2000], []
    if size > manifest.limits.output_kb * 1024:
        return "output_too_large", f"the output has more than {manifest.limits.output_kb} KB", []
    files: list[RunFile] = []
    for entry in sorted(os.scandir(request.results), key=lambda entry: entry.name):
        if not entry.is_file(follow_symlinks=False) or not FILE_NAME.fullmatch(entry.name):
            return "output_invalid", f"{entry.name!a} in `out` is no plain file with a plain name", []
        with Path(entry.path).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        files.append(RunFile(entry.name, digest, entry.stat(follow_symlinks=False).st_size, Path(entry.path)))
    return "done", "", files
