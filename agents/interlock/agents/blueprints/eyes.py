"""How the loop sees a cluster: a real one, or the simulated one. Reads only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from interlock.agents.blueprints.world import Event, World
from interlock.agents.errors import UserError
from interlock.agents.workspace.files import read_file
from interlock.bus.clock import Clock, SystemClock
from interlock.skills.errors import SkillsError
from interlock.skills.infrastructure.blueprint.directory import Service
from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.cluster.client import Cluster, open_cluster
from interlock.skills.infrastructure.cluster.observing import observe
from interlock.skills.infrastructure.cluster.prometheus import Prometheus
from interlock.skills.infrastructure.cluster.traced import Traced
from interlock.skills.infrastructure.executing import KUBECONFIG
from interlock.skills.infrastructure.observed import ObservedState, Sample
from interlock.skills.infrastructure.trace import MAX_BYTES, read_trace


class Eyes:
    """A ports.Cluster. prometheus: where service metrics are asked instead of where the blueprint says. places: the
    directory of each blueprint by its name, which the trace it names counts from; without one nothing is measured by it.
    """

    def __init__(
        self,
        cluster: Cluster,
        access: Path,
        clock: Clock,
        prometheus: Prometheus | None = None,
        places: Mapping[str, Path] | None = None,
    ) -> None:
        self._cluster = cluster
        self._places = places or {}
        self._traces: dict[Path, Traced] = {}
        self._access = access
        self._clock = clock
        self._prometheus = prometheus

    @property
    def access(self) -> Path:
        return self._access

    def now_ms(self) -> int:
        return self._clock.now_ms()

    async def observe(self, blueprint: Blueprint) -> ObservedState:
        return await observe(self._cluster, blueprint, self._clock, self._service_metrics)

    async def pass_time(self, ms: int) -> None:
        await anyio.sleep(ms / 1000)

    async def _service_metrics(self, blueprint: Blueprint) -> list[Sample]:
        metrics = blueprint.metrics
        if metrics.source == "trace" and blueprint.name in self._places:
            return await self._traced(self._places[blueprint.name] / metrics.trace)(blueprint)
        if metrics.source != "prometheus" or not metrics.queries:
            return []
        server = self._prometheus or Prometheus(metrics.url)
        answers = await server.ask(blueprint, metrics.queries)
        return [answer.sample for answer in answers if answer.sample is not None]

    def _traced(self, path: Path) -> Traced:
        """A trace begins when it is first asked for. Raises SkillsError."""
        if path not in self._traces:
            try:
                data = read_file(path, MAX_BYTES)
            except UserError as error:
                raise SkillsError(error.reason, str(error)) from error
            self._traces[path] = Traced(read_trace(data, source=str(path)), self.now_ms(), self._clock)
        return self._traces[path]


class _WorldClock:
    def __init__(self, world: World) -> None:
        self.now = world.fake.now_ms()

    def now_ms(self) -> int:
        return self.now


class SimulatedEyes(Eyes):
    """Time passes only in pass_time; what happened meanwhile is told."""

    def __init__(self, cluster: Cluster, access: Path, world: World, tell: Callable[[int, Event], None]) -> None:
        clock = _WorldClock(world)
        super().__init__(cluster, access, clock, prometheus_of(world))
        self._world_clock = clock
        self._world = world
        self._tell_event = tell
        self._reset = False

    def reset_asked(self) -> bool:
        """Whether somebody closed the breakers since this was last asked."""
        asked, self._reset = self._reset, False
        return asked

    async def pass_time(self, ms: int) -> None:
        events = await self._world.pass_time(ms)
        self._world_clock.now = self._world.fake.now_ms()
        for event in events:
            self._tell_event(self.now_ms(), event)
            self._reset = self._reset or event.reset


def prometheus_of(world: World) -> Prometheus:
    """The simulated cluster's own."""
    import ssl

    trust = ssl.create_default_context(cafile=str(world.fake.certificate))
    headers = {"Authorization": f"Bearer {world.fake.token}"}
    return Prometheus(f"{world.fake.url}/prometheus", headers=headers, trust=trust)


@asynccontextmanager
async def simulated_eyes(
    world: World, access: Path, tell: Callable[[int, Event], None]
) -> AsyncIterator[SimulatedEyes]:
    """Raises SkillsError."""
    async with open_cluster(access / KUBECONFIG) as cluster:
        yield SimulatedEyes(cluster, access, world, tell)


@asynccontextmanager
async def real_eyes(kubeconfig: Path | None, access: Path, services: Sequence[Service] = ()) -> AsyncIterator[Eyes]:
    """kubeconfig: None for the usual places. access: what skills are given. services: those that are looked at. Raises
    SkillsError.
    """
    places = {service.blueprint.name: service.path.parent for service in services if service.blueprint is not None}
    async with open_cluster(kubeconfig) as cluster:
        yield Eyes(cluster, access, SystemClock(), places=places)
