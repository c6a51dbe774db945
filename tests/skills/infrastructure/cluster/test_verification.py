from __future__ import annotations

from typing import Any

import pytest

from interlock.skills.infrastructure.cluster.observing import observe
from interlock.skills.infrastructure.cluster.outcomes import Outcome, canonical_spec
from interlock.skills.infrastructure.cluster.patience import Patience
from interlock.skills.infrastructure.cluster.verification import Verification, verify_or_roll_back
from interlock.skills.infrastructure.fake_cluster.world.settings import ImageBehaviour, Service, WorldSettings
from interlock.skills.infrastructure.observed import ObservedState
from interlock.skills.infrastructure.operations import Operation, PatchResources, Scale
from interlock.skills.infrastructure.target import ContainerResources, Target
from interlock.skills.infrastructure.verifying import verify
from tests.skills.infrastructure.cluster.conftest import Stage
from tests.skills.infrastructure.cluster.services import MIB, service
from tests.skills.infrastructure.cluster.test_executing import BEFORE

pytestmark = pytest.mark.anyio


async def acted(stage: Stage, operation: Operation, wait_ms: int = 30_000, **more: Any) -> tuple[Outcome, Verification]:
    blueprint = service(stage.namespace)

    async def look() -> ObservedState:
        return await observe(stage.cluster, blueprint, stage.clock)

    before = await look()
    outcome = await stage.executor.execute(operation)
    done = await verify_or_roll_back(
        stage.cluster,
        outcome,
        look,
        lambda after: verify(blueprint, operation, before, after, stage.clock.now_ms()),
        waiting=Patience.of(wait_ms, stage.clock, stage.sleep),
        within=lambda ms: Patience.of(ms, stage.clock, stage.sleep),
        **more,
    )
    return outcome, done


async def test_what_comes_as_wanted_stays(stage: Stage, web: Target) -> None:
    _, done = await acted(stage, Scale(target=web, from_replicas=2, replicas=3))
    assert (done.met, done.outcome.status) == (True, "done"), done.rationale
    assert done.after is not None and done.after.ready_replicas == 3


async def test_a_scale_that_the_cluster_has_no_room_for_is_taken_back(stage: Stage, web: Target) -> None:
    assert stage.fake is not None
    stage.fake.configure(WorldSettings(node_cpu_m=100))
    before = canonical_spec(await stage.get())
    _, done = await acted(stage, Scale(target=web, from_replicas=2, replicas=5))
    assert (done.met, done.outcome.status) == (False, "rolled_back"), done
    assert "2 of 5 pods are ready" in done.rationale
    assert canonical_spec(await stage.get()) == before
    assert done.took_ms <= 60_000
    assert done.outcome.reason == "", "the pods are ready again"
    stage.fake.configure(WorldSettings())


async def test_memory_taken_too_far_down_is_given_back(stage: Stage, web: Target) -> None:
    assert stage.fake is not None
    heavy = Service(namespace=stage.namespace, name="web", base_memory_bytes=100 * MIB)
    stage.fake.configure(WorldSettings(services=[heavy]))
    await stage.sleep(20)
    before = canonical_spec(await stage.get())
    tight = ContainerResources(
        cpu_request_m=50, cpu_limit_m=200, memory_request_bytes=64 * MIB, memory_limit_bytes=80 * MIB
    )
    operation = PatchResources(target=await stage.target(), container="web", before=BEFORE, after=tight)
    _, done = await acted(stage, operation, wait_ms=60_000)
    assert (done.met, done.outcome.status) == (False, "rolled_back"), done
    assert "OOMKilled" in done.rationale
    assert canonical_spec(await stage.get()) == before
    assert await stage.ready()


async def test_a_rollback_whose_pods_do_not_come_back_says_so(stage: Stage, web: Target) -> None:
    assert stage.fake is not None
    tight = ContainerResources(cpu_request_m=40, cpu_limit_m=200)
    operation = PatchResources(target=web, container="web", before=BEFORE, after=tight)
    # Every new pod fails from here on, those of the old template too.
    stage.fake.configure(WorldSettings(images=[ImageBehaviour(image="shop/web:1", fails="crash")]))
    pods, _ = await stage.cluster.list("Pod", stage.namespace, "app=web")
    await stage.cluster.delete("Pod", stage.namespace, pods[0]["metadata"]["name"], pods[0]["metadata"]["uid"])
    await stage.sleep(20)
    target = await stage.target()
    _, done = await acted(
        stage, PatchResources(target=target, container="web", before=BEFORE, after=operation.after), wait_ms=20_000
    )
    assert (done.outcome.status, done.outcome.reason) == ("rolled_back", "not_recovered")


async def test_without_permission_nothing_is_taken_back(stage: Stage, web: Target) -> None:
    assert stage.fake is not None
    stage.fake.configure(WorldSettings(node_cpu_m=100))
    _, done = await acted(stage, Scale(target=web, from_replicas=2, replicas=5), may_roll_back=False)
    assert (done.met, done.outcome.status) == (False, "done")
    assert (await stage.get())["spec"]["replicas"] == 5
    stage.fake.configure(WorldSettings())


async def test_what_cannot_be_measured_is_not_met(stage: Stage, web: Target) -> None:
    # The first two lists of pods are those of the look before and of its metrics.
    stage.script(verb="list", resource="pods", status=503, times=99, after=2)
    _, done = await acted(stage, Scale(target=web, from_replicas=2, replicas=3))
    assert (done.met, done.outcome.status, done.after) == (False, "rolled_back", None)
    assert done.rationale.startswith("cannot be measured")


async def test_a_refused_operation_has_nothing_to_take_back(stage: Stage, web: Target) -> None:
    assert stage.fake is not None
    stage.script(verb="patch", resource="deployments", status=403)
    stage.fake.forget_requests()
    outcome, done = await acted(stage, Scale(target=web, from_replicas=2, replicas=3))
    assert done.outcome == outcome
    assert stage.writes() == ["deployments/scale"]
