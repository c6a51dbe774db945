"""Running skills from the executor: check, hand to the fork server, check again, hand back (agents.md)."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
import msgspec
from msgspec import Struct

from interlock.bus.child import BoundChild
from interlock.skills.cost import RunUsage
from interlock.skills.manifest import FILE_NAME, Skill
from interlock.skills.protocol import Order, Outcome, RunOrder, RunReport, StopOrder
from interlock.skills.schemas import check, find_float, path_properties

Mode = Literal["run", "check"]
MB = 1 << 20
LINE_BYTES = 4 * MB
_reports = msgspec.json.Decoder(RunReport)


class RunnerSettings(Struct, frozen=True, kw_only=True):
    """concurrency: runs at a time. isolation strict refuses to run where the kernel cannot isolate. grace_ms: what a
    cancelled run has left.
    """

    concurrency: int = 4
    isolation: Literal["strict", "best_effort"] = "strict"
    grace_ms: int = 500


class RunRequest(Struct, frozen=True, kw_only=True):
    """One run. files: by name, read-only. read_roots, write_roots: under which directories of the host an input may
    name one. wall_ms: a narrower wall limit, 0 for none. results: where produced files are to be put; the caller's.
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
        self._waiting: dict[str, asyncio.Future[RunReport]] = {}
        self._starting = asyncio.Lock()
        self._host: BoundChild | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    @asynccontextmanager
    async def started(cls, settings: RunnerSettings | None = None) -> AsyncIterator[SkillRunner]:
        with tempfile.TemporaryDirectory(prefix="interlock-runs-") as place:
            runner = cls(settings or RunnerSettings(), Path(place))
            try:
                await runner._ensure_host()
                yield runner
            finally:
                with anyio.CancelScope(shield=True):
                    await runner._end()

    @property
    def host_pid(self) -> int:
        """The fork server's process id, 0 if it is not running."""
        return self._host.pid if self._host is not None and not self._host.ended.done() else 0

    async def run(self, request: RunRequest) -> RunResult:
        """Runs the handler once. Never raises for what the skill does; cancelling ends the run."""
        return await self._go(request, "run")

    async def check(self, request: RunRequest) -> RunResult:
        """Asks the handler's `check` whether an interrupted effect happened: done, not_happened, or a failure."""
        return await self._go(request, "check")

    async def _go(self, request: RunRequest, mode: Mode) -> RunResult:
        problems = check(request.input, request.skill.manifest.input)
        if problems:
            detail = "; ".join(f"{path}: {text}" for path, text in problems)[:2000]
            return RunResult(outcome="input_invalid", detail=detail)
        paths = _paths(request)
        if isinstance(paths, str):
            return RunResult(outcome="path_not_allowed", detail=paths)
        readable, writable = paths
        async with self._slots:
            order = self._order(request, mode, readable, writable)
            report = await self._ordered(order)
        return await anyio.to_thread.run_sync(_result_of, request, report, mode)

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
            strict=self._settings.isolation == "strict",
        )

    async def _ordered(self, order: RunOrder) -> RunReport:
        await self._ensure_host()
        future: asyncio.Future[RunReport] = asyncio.get_running_loop().create_future()
        self._waiting[order.id] = future
        try:
            self._say(Order(run=order))
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True):
                self._say(Order(stop=StopOrder(id=order.id, grace_ms=self._settings.grace_ms)))
                with anyio.move_on_after(self._settings.grace_ms / 1000 + 2):
                    await asyncio.shield(future)
            raise
        finally:
            self._waiting.pop(order.id, None)

    def _say(self, order: Order) -> None:
        if self._writer is not None:
            self._writer.write(msgspec.json.encode(order) + b"\n")

    async def _ensure_host(self) -> None:
        async with self._starting:
            # A host whose socket has closed is lost, also while its exit is still being noticed.
            if self.host_pid and self._reading is not None and not self._reading.done():
                return
            await self._close_writer()
            ours, theirs = socket.socketpair()
            command = [sys.executable, "-I", "-m", "interlock.skills.host", str(theirs.fileno())]
            log = self._place / "host.log"
            self._host = await anyio.to_thread.run_sync(
                lambda: BoundChild(command, env={"LANG": "C.UTF-8"}, output=log, keep_fds=[theirs.fileno()])
            )
            theirs.close()
            reader, self._writer = await asyncio.open_connection(sock=ours, limit=LINE_BYTES)
            self._reading = asyncio.create_task(self._read(reader))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                report = _reports.decode(line)
                future = self._waiting.get(report.id)
                if future is not None and not future.done():
                    future.set_result(report)
        except (OSError, ValueError, msgspec.MsgspecError):
            pass  # said below: whoever waits is told that the host is lost
        for name, future in self._waiting.items():
            if not future.done():
                future.set_result(RunReport(id=name, outcome="host_lost", detail="the fork server ended"))

    async def _end(self) -> None:
        await self._close_writer()
        if self._host is not None:
            host = self._host
            await anyio.to_thread.run_sync(lambda: host.stop(2_000))
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            try:
                await self._writer.wait_closed()
            except OSError:
                pass  # the host ended first
            self._writer = None


def _paths(request: RunRequest) -> tuple[list[str], list[str]] | str:
    """(readable, writable) directories that the input names, or why one may not be used."""
    readable: list[str] = []
    writable: list[str] = []
    for name, kind in path_properties(request.skill.manifest.input):
        value = request.input.get(name)
        if value is None:
            continue
        roots = request.write_roots if kind == "writable-directory" else request.read_roots
        real = "" if "\0" in str(value) else os.path.realpath(str(value))
        if not real or not any(_is_within(real, os.path.realpath(root)) for root in roots):
            allowed = ", ".join(str(root) for root in roots) or "none"
            return f"$.{name}: {value} is not under a directory that runs may use; allowed: {allowed}"
        if not Path(real).is_dir():
            return f"$.{name}: {value} is no directory"
        (writable if kind == "writable-directory" else readable).append(real)
    return readable, writable


def _is_within(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def _result_of(request: RunRequest, report: RunReport, mode: str) -> RunResult:
    usage = RunUsage(report.cpu_us, report.wall_ms, report.peak_rss_kb)
    outcome, detail = report.outcome, report.detail
    files: list[RunFile] = []
    output = report.output if isinstance(report.output, dict) else {}
    if outcome == "done" and mode == "run":
        outcome, detail, files = _judge_output(request, output)
    if outcome != "done":
        output, files = {}, []
    return RunResult(outcome=outcome, detail=detail, output=output, files=files, usage=usage, log=report.log)


def _judge_output(request: RunRequest, output: dict[str, Any]) -> tuple[Outcome, str, list[RunFile]]:
    manifest = request.skill.manifest
    where = find_float(output)
    if where:
        return "float_in_output", f"{where} has a decimal point; write it as a string or scale it to an integer", []
    problems = check(output, manifest.output)
    if problems:
        return "output_invalid", "; ".join(f"{path}: {text}" for path, text in problems)[:2000], []
    if len(msgspec.json.encode(output)) > manifest.limits.output_kb * 1024:
        return "output_too_large", f"the output has more than {manifest.limits.output_kb} KB", []
    files: list[RunFile] = []
    for entry in sorted(os.scandir(request.results), key=lambda entry: entry.name):
        if not entry.is_file(follow_symlinks=False) or not FILE_NAME.fullmatch(entry.name):
            return "output_invalid", f"{entry.name!a} in `out` is no plain file with a plain name", []
        data = Path(entry.path).read_bytes()
        files.append(RunFile(entry.name, hashlib.sha256(data).hexdigest(), len(data), Path(entry.path)))
    return "done", "", files
