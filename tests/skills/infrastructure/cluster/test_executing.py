"""Operations on an API server that does what it is asked: the fake one, and a real one where there is one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from interlock.skills.infrastructure.cluster.outcomes import PriorState, canonical_spec
from interlock.skills.infrastructure.cluster.patience import Patience
from interlock.skills.infrastructure.cluster.restoring import roll_back
from interlock.skills.infrastructure.operations import (
    ChangeNetworkPolicy,
    ChangeProbes,
    DeleteResource,
    ModifySecret,
    ModifyStrategy,
    Operation,
    PatchResources,
    PodName,
    RestartPods,
    RolloutUndo,
    Scale,
)
from interlock.skills.infrastructure.target import ContainerResources, Probe, RolloutSettings, Target
from tests.skills.infrastructure.cluster.conftest import Stage
from tests.skills.infrastructure.fake_cluster.speaking import deployment

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
BEFORE = ContainerResources(
    cpu_request_m=50, cpu_limit_m=200, memory_request_bytes=64 * MIB, memory_limit_bytes=128 * MIB
)
AFTER = ContainerResources(
    cpu_request_m=60, cpu_limit_m=1500, memory_request_bytes=64 * MIB, memory_limit_bytes=256 * MIB
)
PROBED = Probe(initial_delay_s=1, period_s=10, timeout_s=5, failure_threshold=3)


def item(**more: Any) -> dict[str, Any]:
    made = deployment(**more)
    probe = {"httpGet": {"path": "/", "port": 80}, "initialDelaySeconds": 2}
    made["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = probe
    return made


def scale(target: Target, replicas: int = 3) -> Scale:
    return Scale(target=target, from_replicas=2, replicas=replicas)


def operations(target: Target) -> list[tuple[Operation, str, object]]:
    """Each spec change with the place of the spec where it shows, and what stands there then."""
    settings = RolloutSettings(strategy="RollingUpdate", max_surge="1", max_unavailable="0", min_ready_seconds=3)
    limits = "template.spec.containers.0.resources.limits"
    return [
        (scale(target), "replicas", 3),
        (
            PatchResources(target=target, container="web", before=BEFORE, after=AFTER),
            limits,
            {"cpu": "1500m", "memory": "256Mi"},
        ),
        (
            ModifyStrategy(target=target, settings=settings),
            "strategy.rollingUpdate",
            {"maxSurge": 1, "maxUnavailable": 0},
        ),
        (
            ModifyStrategy(target=target, settings=RolloutSettings(strategy="Recreate")),
            "strategy",
            {"type": "Recreate"},
        ),
        (
            ChangeProbes(target=target, container="web", readiness=PROBED),
            "template.spec.containers.0.readinessProbe.initialDelaySeconds",
            1,
        ),
    ]


def at(spec: Any, path: str) -> Any:
    for step in path.split("."):
        spec = spec[int(step)] if isinstance(spec, list) else spec[step]
    return spec


@pytest.mark.parametrize("number", range(5))
async def test_a_change_is_done_and_its_way_back_is_byte_identical(either: Stage, number: int) -> None:
    await either.make(item())
    before = await either.get()
    operation, path, wanted = operations(await either.target())[number]
    dry = await either.executor.execute(operation, dry_run=True)
    assert (dry.status, dry.dry_run) == ("done", True)
    assert canonical_spec(await either.get()) == canonical_spec(before), "a dry run keeps nothing"
    outcome = await either.executor.execute(operations(await either.target())[number][0])
    assert outcome.status == "done", outcome
    assert outcome.prior is not None
    after = await either.get()
    assert at(after["spec"], path) == wanted
    assert canonical_spec(after) == outcome.applied
    assert outcome.prior.spec == canonical_spec(before)
    back = await roll_back(either.cluster, outcome, Patience.of(60_000, either.clock, either.sleep))
    assert back.status == "rolled_back", back
    assert canonical_spec(await either.get()) == canonical_spec(before)


async def test_nothing_but_the_container_that_is_named_changes(either: Stage) -> None:
    made = item()
    made["spec"]["template"]["spec"]["containers"].append({"name": "sidecar", "image": "x"})
    await either.make(made)
    before = await either.get()
    target = await either.target()
    after = ContainerResources(
        cpu_request_m=None, cpu_limit_m=200, memory_request_bytes=64 * MIB, memory_limit_bytes=None
    )
    outcome = await either.executor.execute(PatchResources(target=target, container="web", before=BEFORE, after=after))
    assert outcome.status == "done"
    web, sidecar = (await either.get())["spec"]["template"]["spec"]["containers"]
    assert sidecar == before["spec"]["template"]["spec"]["containers"][1]
    assert web["resources"] == {"limits": {"cpu": "200m"}, "requests": {"memory": "64Mi"}}


async def test_an_undo_brings_the_template_of_a_revision_back(either: Stage) -> None:
    await either.make(item(image="shop/web:1"))
    await either.until(lambda: revision(either, "1"))
    first = (await either.get())["spec"]["template"]
    live = await either.get()
    container = {"name": "web", "image": "shop/web:2"}
    patch = {"spec": {"template": {"spec": {"containers": [container]}}}}
    kind = "application/strategic-merge-patch+json"
    await either.cluster.patch("Deployment", either.namespace, "web", patch, kind)
    await either.until(lambda: revision(either, "2"))
    missing = await either.executor.execute(RolloutUndo(target=await either.target(), to_revision=9))
    assert (missing.status, missing.reason) == ("refused", "revision_not_found")
    assert "1, 2" in missing.detail
    outcome = await either.executor.execute(RolloutUndo(target=await either.target(), to_revision=1))
    assert outcome.status == "done", outcome
    assert (await either.get())["spec"]["template"] == first == live["spec"]["template"]
    await either.until(lambda: revision(either, "3"))


async def revision(stage: Stage, wanted: str) -> bool:
    annotations = (await stage.get())["metadata"].get("annotations") or {}
    return annotations.get("deployment.kubernetes.io/revision") == wanted


async def test_pods_are_restarted_by_name_and_uid(stage: Stage, web: Target) -> None:
    pods, _ = await stage.cluster.list("Pod", stage.namespace, "app=web")
    first, second = (PodName(name=pod["metadata"]["name"], uid=pod["metadata"]["uid"]) for pod in pods)
    gone = PodName(name=first.name, uid="another-uid")
    outcome = await stage.executor.execute(RestartPods(target=await stage.target(), pods=(first, gone)))
    assert outcome.status == "done", outcome
    await stage.sleep(20)
    left = {pod["metadata"]["uid"] for pod in (await stage.cluster.list("Pod", stage.namespace, "app=web"))[0]}
    assert second.uid in left
    assert first.uid not in left
    assert len(left) == 2


async def test_a_pod_of_somebody_else_is_not_touched(stage: Stage, web: Target) -> None:
    await stage.make(deployment("other"))
    await stage.sleep(10)
    pods, _ = await stage.cluster.list("Pod", stage.namespace, "app=other")
    strange = PodName(name=pods[0]["metadata"]["name"])
    outcome = await stage.executor.execute(RestartPods(target=await stage.target(), pods=(strange,)))
    assert (outcome.status, outcome.reason) == ("refused", "pod_not_found")
    assert len((await stage.cluster.list("Pod", stage.namespace, "app=other"))[0]) == 2


@pytest.mark.parametrize("kind", [DeleteResource, ModifySecret, ChangeNetworkPolicy])
async def test_what_exists_to_be_forbidden_is_done_by_nobody(stage: Stage, web: Target, kind: type) -> None:
    assert stage.fake is not None
    stage.fake.forget_requests()
    outcome = await stage.executor.execute(kind(target=web))
    assert (outcome.status, outcome.reason) == ("refused", "operation_forbidden")
    assert stage.writes() == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"uid": ""}, "object_changed"),
        ({"resource_version": ""}, "object_changed"),
        ({"uid": "00000000-0000-0000-0000-000000000000"}, "object_changed"),
        ({"resource_version": "1"}, "object_changed"),
        ({"name": "nothing"}, "object_not_found"),
    ],
)
async def test_an_approval_for_another_object_or_version_is_void(
    either: Stage, change: dict[str, str], reason: str
) -> None:
    await either.make(item())
    seen = await either.target()
    fields = {"namespace": seen.namespace, "kind": seen.kind, "name": seen.name, "uid": seen.uid}
    target = Target(**{**fields, "resource_version": seen.resource_version, **change})
    outcome = await either.executor.execute(scale(target))
    assert (outcome.status, outcome.reason) == ("refused", reason)
    assert (await either.get())["spec"]["replicas"] == 2


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda t: PatchResources(target=t, container="db", before=BEFORE, after=AFTER), "container_not_found"),
        (lambda t: ChangeProbes(target=t, container="web", liveness=PROBED), "probe_not_found"),
        (lambda t: scale(t, -1), "cluster_refused"),
        (
            lambda t: PatchResources(
                target=t, container="web", before=BEFORE, after=ContainerResources(cpu_request_m=500, cpu_limit_m=100)
            ),
            "cluster_refused",
        ),
    ],
)
async def test_what_does_not_fit_the_object_is_refused(
    either: Stage, make: Callable[[Target], Operation], reason: str
) -> None:
    await either.make(item())
    before = canonical_spec(await either.get())
    outcome = await either.executor.execute(make(await either.target()))
    assert (outcome.status, outcome.reason) == ("refused", reason), outcome
    assert canonical_spec(await either.get()) == before


@pytest.mark.parametrize("manager", ["argocd-controller", "kustomize-controller"])
async def test_what_git_keeps_is_proposed_not_written(stage: Stage, manager: str) -> None:
    assert stage.fake is not None
    await stage.make(item(), manager)
    stage.fake.forget_requests()
    for operation, *_ in operations(await stage.target()):
        outcome = await stage.executor.execute(operation)
        assert (outcome.status, outcome.reason) == ("refused", "owned_by_git")
        (patch,) = yaml.safe_load_all(Path(outcome.proposal).read_text())
        assert (patch["kind"], patch["metadata"]["name"]) == ("Deployment", "web")
        assert "$" not in json.dumps(patch["spec"])
    restarts = await stage.executor.execute(RestartPods(target=await stage.target(), pods=(PodName(name="x"),)))
    assert restarts.reason == "owned_by_git"
    assert stage.writes() == []
    (first, *_) = sorted(path.name for path in stage.proposals.iterdir())
    assert first.startswith(f"{stage.namespace}-deployment-web-")


async def test_a_stateful_set_goes_back_to_a_revision_too(stage: Stage) -> None:
    made = {**deployment("db"), "kind": "StatefulSet"}
    await stage.make(made)
    await stage.sleep(20)
    before = await stage.get("db", "StatefulSet")
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "db", "image": "shop/db:2"}]}}}}
    kind = "application/strategic-merge-patch+json"
    await stage.cluster.patch("StatefulSet", stage.namespace, "db", patch, kind)
    await stage.sleep(60)
    target = await stage.target("db", "StatefulSet")
    outcome = await stage.executor.execute(RolloutUndo(target=target, to_revision=1))
    assert outcome.status == "done", outcome
    assert (await stage.get("db", "StatefulSet"))["spec"]["template"] == before["spec"]["template"]
    strategy = ModifyStrategy(
        target=await stage.target("db", "StatefulSet"), settings=RolloutSettings(strategy="Recreate")
    )
    assert (await stage.executor.execute(strategy)).reason == "strategy_not_supported"


def test_a_prior_state_survives_a_journal() -> None:
    import msgspec

    prior = PriorState(target=Target(namespace="a", kind="Deployment", name="b"), spec='{"replicas":1}')
    assert msgspec.json.decode(msgspec.json.encode(prior), type=PriorState) == prior
    assert len(prior.digest) == 64
