"""The supervisor: keeps processes running while its context lasts; none outlives it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from msgspec import Struct

from interlock.agents.errors import UserError
from interlock.agents.presence import CANNOT_START, SAYS
from interlock.agents.workspace.settings import MetricsPort
from interlock.bus.child import BoundChild
from interlock.bus.tasks import background

log = logging.getLogger("interlock.supervisor")
ENV_KEPT = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "INTERLOCK_CONFIG", "LD_LIBRARY_PATH", "SSL_CERT_FILE")


class Supervision(Struct, frozen=True, kw_only=True):
    """A process that ends is started again after restart_ms, doubled with each death in a row up to cap_ms; one that
    dies max_deaths times within window_ms is given up, and everything with it.
    """

    restart_ms: int = 50
    cap_ms: int = 2_000
    max_deaths: int = 20
    window_ms: int = 60_000
    grace_ms: int = 3_000
    max_log_bytes: int = 16 << 20


class Program(Struct, frozen=True):
    """A process to keep: its name, its command line, and whether it dies with its parent by its own doing."""

    name: str
    command: list[str]
    binds_itself: bool = False


class Supervisor:
    """Use as `async with supervisor.running():`. Raises UserError (crash_loop) out of the context when one is given up."""

    def __init__(self, programs: Sequence[Program], logs: Path, settings: Supervision | None = None) -> None:
        self._programs = programs
        self._logs = logs
        self._settings = settings or Supervision()
        self._children: dict[str, BoundChild] = {}
        self.deaths: dict[str, int] = {program.name: 0 for program in programs}

    def pid(self, name: str) -> int:
        """The process id now running under a name, 0 if it is between two lives."""
        child = self._children.get(name)
        return child.pid if child is not None and not child.ended.done() else 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Supervisor]:
        try:
            self._logs.mkdir(parents=True, exist_ok=True, mode=0o700)
            for program in self._programs:
                self._start(program)
            async with background() as group:
                for program in self._programs:
                    group.start_soon(self._keep, program)
                yield self
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._end_all)

    def log_of(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _start(self, program: Program) -> None:
        path = self.log_of(program.name)
        if path.exists() and path.stat().st_size > self._settings.max_log_bytes:
            path.replace(path.with_suffix(".log.1"))
        env = {name: value for name, value in os.environ.items() if name in ENV_KEPT or name.startswith("OTEL_")}
        self._children[program.name] = BoundChild(
            program.command, env=env, output=path, binds_itself=program.binds_itself, in_batches=True
        )

    async def _keep(self, program: Program) -> None:
        import asyncio

        deaths: list[float] = []
        while True:
            child = self._children[program.name]
            status = await asyncio.wrap_future(child.ended)
            now = anyio.current_time()
            deaths = [moment for moment in deaths if now - moment < self._settings.window_ms / 1000] + [now]
            self.deaths[program.name] += 1
            if status == CANNOT_START and self.deaths[program.name] == 1:
                # In its first life: what is wrong was so before, and will be after a restart. Later somebody may be
                # just mending it, and the others work meanwhile.
                raise UserError("cannot_start", f"{program.name}{self._last_words(program.name)}", exit_code=2)
            log.warning("%s ended with status %s; restart %s", program.name, status, len(deaths))
            if len(deaths) >= self._settings.max_deaths:
                raise UserError(
                    "crash_loop",
                    f"{program.name} ended {len(deaths)} times in a row{self._last_words(program.name)}",
                    f"See {self.log_of(program.name)}",
                )
            pause_ms = min(self._settings.cap_ms, self._settings.restart_ms * 2 ** (len(deaths) - 1))
            await anyio.sleep(pause_ms / 1000)
            self._start(program)

    def _last_words(self, name: str) -> str:
        lines = self.log_of(name).read_bytes()[-4096:].decode(errors="replace").strip().splitlines()
        return f": {lines[-1].removeprefix(SAYS).rstrip('.')[:500]}" if lines else ""

    def _end_all(self) -> None:
        """SIGTERM to all, then wait for each; what does not end in time is killed."""
        for child in self._children.values():
            child.terminate()
        for child in self._children.values():
            child.stop(self._settings.grace_ms)


def role_program(
    agent: str,
    root: Path,
    url: str,
    grants: Sequence[Path],
    skills: Sequence[Path],
    metrics_port: MetricsPort | None = None,
    checkpoint: Path | None = None,
) -> Program:
    """The command line of a role's process. metrics_port: its own, None: as the settings say. checkpoint: where an auditor
    remembers its log, None: in the workspace's usual place.
    """
    command = [sys.executable, "-m", "interlock.agents.process", agent, "--dir", str(root), "--nats", url]
    for flag, paths in (("--grant", grants), ("--skills", skills)):
        for path in paths:
            command += [flag, str(path)]
    if metrics_port is not None:
        command += ["--metrics-port", str(metrics_port)]
    if checkpoint is not None:
        command += ["--checkpoint", str(checkpoint)]
    return Program(agent, [*command, "--parent", str(os.getpid())], binds_itself=True)
