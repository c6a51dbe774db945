"""A simulated cluster to run blueprints in: its description as YAML, its process, and what the loop sees of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
import msgspec
from msgspec import Struct

from interlock.agents.errors import UserError
from interlock.agents.workspace.files import read_file
from interlock.agents.workspace.settings import read_yaml
from interlock.envelope.amounts import time_ms
from interlock.skills.infrastructure.blueprint import quantities
from interlock.skills.infrastructure.executing import KUBECONFIG
from interlock.skills.infrastructure.fake_cluster.launching import FakeCluster
from interlock.skills.infrastructure.fake_cluster.world.settings import LoadPoint, Service, WorldSettings
from interlock.skills.infrastructure.trace import MAX_BYTES, Trace, read_trace

_USUAL_WORK_US = 5_000


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class ServiceFile(_Part, frozen=True):
    """A workload under the load of a trace (trace.py)."""

    namespace: str
    name: str
    trace: str
    base_memory: str = "64Mi"
    base_latency: str = "60ms"


class Event(_Part, frozen=True):
    """What happens `at` so long after the start. node_cpu: what all pods may request from then on, `none` for no bound, empty
    if that stays as it is; reset: a human closes every breaker.
    """

    at: str
    why: str
    node_cpu: str = ""
    reset: bool = False


class WorldFile(_Part, frozen=True):
    """start: RFC 3339, UTC. objects: YAML of what runs at first. Paths count from the file."""

    start: str
    objects: str
    services: tuple[ServiceFile, ...]
    events: tuple[Event, ...] = ()


class World:
    """A running simulated cluster. It only moves when `pass_time` moves it."""

    def __init__(self, fake: FakeCluster, file: WorldFile, traces: dict[str, Trace], start_ms: int) -> None:
        self.fake = fake
        self.traces = traces
        self._file = file
        self._start_ms = start_ms
        self.settings = self._loads()
        self._due = sorted(((_quantity("duration", event.at), event) for event in file.events), key=lambda due: due[0])
        fake.configure(self.settings)

    async def pass_time(self, ms: int) -> list[Event]:
        """Moves the world on, through what happens meanwhile, which is told."""
        end_ms = self._now_ms() + ms
        happened = []
        while self._due and self._start_ms + self._due[0][0] <= end_ms:
            at_ms, event = self._due.pop(0)
            await self._step(self._start_ms + at_ms - self._now_ms())
            if event.node_cpu:
                node_cpu_m = None if event.node_cpu == "none" else _quantity("cpu", event.node_cpu)
                self.settings = msgspec.structs.replace(self.settings, node_cpu_m=node_cpu_m)
                await anyio.to_thread.run_sync(self.fake.configure, self.settings)
            happened.append(event)
        await self._step(end_ms - self._now_ms())
        return happened

    def _now_ms(self) -> int:
        return self.fake.now_ms()

    async def _step(self, ms: int) -> None:
        if ms > 0:
            await anyio.to_thread.run_sync(self.fake.step, ms)

    def _loads(self) -> WorldSettings:
        return WorldSettings(
            services=[
                Service(
                    namespace=service.namespace,
                    name=service.name,
                    load=[
                        LoadPoint(at_ms=row.at_ms, mrps=row.offered_mrps)
                        for row in self.traces[service.name].rows
                        if row.offered_mrps is not None
                    ],
                    cpu_um_per_request=self.traces[service.name].rows[0].work_us or _USUAL_WORK_US,
                    base_memory_bytes=_quantity("memory", service.base_memory),
                    base_latency_us=_quantity("latency", service.base_latency),
                )
                for service in self._file.services
            ]
        )


@contextmanager
def running_world(path: Path, directory: Path) -> Iterator[World]:
    """Starts the world of a file; its access and log are put into directory. Raises UserError or SkillsError."""
    value, _ = read_yaml(path)
    try:
        file = msgspec.convert(value, WorldFile)
        start_ms = time_ms(file.start)
        for event in file.events:
            _quantity("duration", event.at)
            if event.node_cpu not in ("", "none"):
                _quantity("cpu", event.node_cpu)
    except (msgspec.ValidationError, ValueError) as error:
        raise UserError("bad_world", f"{path}: {error}", "See examples/03-blueprint/world.yaml", 2) from error
    base = path.resolve().parent
    traces = {
        service.name: read_trace(read_file(base / service.trace, MAX_BYTES), source=service.trace)
        for service in file.services
    }
    start = partial(FakeCluster, directory, stepped=True, start_ms=start_ms, objects=[base / file.objects])
    with start() as fake:
        shutil.copyfile(fake.kubeconfig, directory / KUBECONFIG)
        (directory / KUBECONFIG).chmod(0o600)
        yield World(fake, file, traces, start_ms)


def _quantity(kind: str, text: Any) -> int:
    try:
        return quantities.parse(kind, text)
    except quantities.QuantityError as error:
        expected = quantities.KINDS[kind].expected
        raise ValueError(f"{text!r}: expected {expected}" + (f"; write {error}" if str(error) else "")) from error
