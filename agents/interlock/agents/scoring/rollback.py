"""SC-006: operations that break a service are carried out on a simulated cluster, a process of its own that speaks the
API, and have to be gone again within 60 s.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import msgspec
from msgspec import Struct

from interlock.agents.scoring.model import Score, Subject, share
from interlock.agents.scoring.workloads import written
from interlock.bus.clock import ManualClock
from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.fake_cluster.launching import FakeCluster
from interlock.skills.infrastructure.fake_cluster.world.settings import WorldSettings
from interlock.skills.infrastructure.observed import ObservedState
from interlock.skills.infrastructure.operations import Operation, PatchResources, Scale
from interlock.skills.infrastructure.target import Target

_WITHIN_MS = 60_000
_START_MS = 30_000


class Ready(Struct, frozen=True):
    """Whether every replica that is asked for is ready: what any target needs first."""

    met: bool
    rationale: str


class Attempt(Struct, frozen=True, kw_only=True):
    """One harmful operation. same: the spec afterwards is the spec before, byte by byte. took_ms: from the judgement to the
    last pod that is ready again, the cluster's simulated time and the real time of the requests together.
    """

    what: str
    status: str
    same: bool
    took_ms: int

    @property
    def good(self) -> bool:
        return self.status == "rolled_back" and self.same and self.took_ms <= _WITHIN_MS


def rollback(subjects: Sequence[Subject]) -> Score:
    """SC-006. Needs the kubernetes extra; without it nothing is measured and the criterion is not met."""
    with tempfile.TemporaryDirectory(prefix="interlock-score-") as directory:
        attempts = anyio.run(_attempts, [subject.blueprint for subject in subjects], Path(directory))
    good = [attempt for attempt in attempts if attempt.good]
    slowest_ms = max((attempt.took_ms for attempt in attempts), default=0)
    return Score(
        criterion="SC-006",
        title="Rollback effectiveness",
        target="100 % of harmful operations rolled back within 60 s",
        met=len(good) == len(attempts) > 0,
        measured=share(len(good), len(attempts)),
        evidence=(
            f"pods that cannot be placed: back to the byte-identical spec, the slowest after {slowest_ms / 1000:g} s",
            *(f"{attempt.what}: {attempt.status}, {attempt.took_ms} ms" for attempt in attempts if not attempt.good),
        ),
    )


async def _attempts(blueprints: Sequence[Blueprint], directory: Path) -> list[Attempt]:
    from interlock.skills.infrastructure.cluster.client import open_cluster

    if not blueprints:
        return []
    found = []
    with FakeCluster(directory, objects=[written(blueprints, directory)]) as fake:
        async with open_cluster(fake.kubeconfig) as cluster:
            for blueprint in blueprints:
                for harmful in (_too_large, _too_many):
                    fake.configure(WorldSettings())
                    fake.step(_START_MS)
                    found.append(await _tried(fake, cluster, blueprint, harmful, directory))
    return found


async def _tried(fake: FakeCluster, cluster: Any, blueprint: Blueprint, harmful: Any, directory: Path) -> Attempt:
    from interlock.skills.infrastructure.cluster.execution import Executor
    from interlock.skills.infrastructure.cluster.observing import observe
    from interlock.skills.infrastructure.cluster.outcomes import canonical_spec
    from interlock.skills.infrastructure.cluster.patience import Patience
    from interlock.skills.infrastructure.cluster.verification import verify_or_roll_back

    clock = ManualClock(fake.now_ms())

    async def sleep(seconds: float) -> None:
        fake.step(round(seconds * 1000))
        clock.advance(round(seconds * 1000))

    async def seen() -> ObservedState:
        return await observe(cluster, blueprint, clock)

    target = blueprint.target
    before = await seen()
    spec = canonical_spec(await cluster.get(target.kind, target.namespace, target.name))
    operation: Operation = harmful(blueprint, before.target)
    # What runs has its place; there is none for anything more.
    fake.configure(WorldSettings(node_cpu_m=before.replicas * blueprint.resources.cpu.request_m))
    executor = Executor(cluster, proposals=directory, clock=clock, sleep=sleep)
    outcome = await executor.execute(operation)
    judged_at = time.monotonic()

    def within(limit_ms: int) -> Patience:
        nonlocal judged_at
        judged_at = time.monotonic()  # last for the way back
        return Patience.of(limit_ms, clock, sleep)

    verified = await verify_or_roll_back(
        cluster,
        outcome,
        seen,
        _ready,
        waiting=Patience.of(blueprint.reliability.health_check_timeout_ms, clock, sleep),
        within=within,
    )
    took_ms = verified.took_ms + round((time.monotonic() - judged_at) * 1000)
    after = canonical_spec(await cluster.get(target.kind, target.namespace, target.name))
    what = f"{blueprint.name}: {type(operation).__name__}"
    return Attempt(what=what, status=verified.outcome.status, same=after == spec, took_ms=took_ms)


def _ready(state: ObservedState) -> Ready:
    complete = state.rollout is None or state.rollout.complete
    met = complete and state.ready_replicas == state.replicas
    return Ready(met, f"{state.ready_replicas} of {state.replicas} replicas are ready")


def _too_large(blueprint: Blueprint, target: Target) -> Operation:
    """Requests that no place is left for."""
    before = blueprint.resources.of_container()
    cpu_m = blueprint.resources.cpu.limit_m * 100
    after = msgspec.structs.replace(before, cpu_request_m=cpu_m, cpu_limit_m=cpu_m)
    return PatchResources(target=target, container=blueprint.target.container, before=before, after=after)


def _too_many(blueprint: Blueprint, target: Target) -> Operation:
    """More replicas than there is room for."""
    begin = blueprint.scaling.min_replicas
    return Scale(target=target, from_replicas=begin, replicas=blueprint.scaling.max_replicas + 1)
