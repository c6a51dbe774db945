"""deploy/rbac is enough for everything that is done in a namespace, and for nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.bus.clock import ManualClock
from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.blueprint.reading import read_blueprint
from interlock.skills.infrastructure.cluster.client import open_cluster
from interlock.skills.infrastructure.cluster.errors import ClusterError
from interlock.skills.infrastructure.cluster.execution import Executor
from interlock.skills.infrastructure.cluster.observing import observe
from interlock.skills.infrastructure.cluster.patience import Patience
from interlock.skills.infrastructure.cluster.restoring import roll_back
from interlock.skills.infrastructure.fake_cluster.launching import FakeCluster
from interlock.skills.infrastructure.operations import ModifyStrategy, Operation, PodName, RestartPods, Scale

pytestmark = [pytest.mark.anyio, pytest.mark.process]
ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples/03-blueprint"
ACCOUNT = "system:serviceaccount:interlock:interlock-executor"
BINDING = """
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: interlock-executor, namespace: todo}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: interlock-executor}
subjects: [{kind: ServiceAccount, name: interlock-executor, namespace: interlock}]
"""


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeCluster]:
    place = tmp_path_factory.mktemp("rbac")
    rbac = place / "rbac.yaml"
    rbac.write_text((ROOT / "deploy/rbac/blueprints.yaml").read_text() + BINDING)
    with FakeCluster(place, objects=[EXAMPLE / "cluster.yaml"], rbac=[rbac], users=[ACCOUNT]) as cluster:
        cluster.step(120_000)
        yield cluster


@pytest.fixture
def blueprint() -> Blueprint:
    found = read_blueprint((EXAMPLE / "blueprints/backend/blueprint.yaml").read_bytes(), source="b").blueprint
    assert found is not None
    return found


async def test_everything_that_is_done_may_be_done(fake: FakeCluster, blueprint: Blueprint, tmp_path: Path) -> None:
    clock = ManualClock(fake.now_ms())
    async with open_cluster(fake.kubeconfig_for(ACCOUNT)) as cluster:
        executor = Executor(cluster, proposals=tmp_path)

        async def do(make: type[Operation]) -> None:
            state = await observe(cluster, blueprint, clock)
            assert state.replicas >= 1 and state.pods
            assert blueprint.deployment is not None
            operation: Operation
            if make is Scale:
                operation = Scale(target=state.target, from_replicas=state.replicas, replicas=state.replicas + 1)
            elif make is RestartPods:
                pod = state.pods[0]
                operation = RestartPods(target=state.target, pods=(PodName(name=pod.name, uid=pod.uid),))
            else:
                operation = ModifyStrategy(target=state.target, settings=blueprint.deployment)
            outcome = await executor.execute(operation, dry_run=make is RestartPods)
            assert outcome.status == "done", outcome.detail
            if make is Scale:
                assert (await roll_back(cluster, outcome, Patience.of(5_000))).status == "rolled_back"

        for make in (Scale, RestartPods, ModifyStrategy):
            await do(make)


@pytest.mark.parametrize(
    ("kind", "name"), [("Deployment", "todo-backend"), ("StatefulSet", "todo-backend"), ("ReplicaSet", "any")]
)
async def test_nothing_else_may_be_deleted(fake: FakeCluster, kind: str, name: str) -> None:
    async with open_cluster(fake.kubeconfig_for(ACCOUNT)) as cluster:
        with pytest.raises(ClusterError) as caught:
            await cluster.delete(kind, "todo", name, "u")
    assert "forbidden" in str(caught.value).lower()


async def test_another_namespace_is_not_seen(fake: FakeCluster) -> None:
    async with open_cluster(fake.kubeconfig_for(ACCOUNT)) as cluster:
        with pytest.raises(ClusterError) as caught:
            await cluster.list("Pod", "kube-system")
    assert "forbidden" in str(caught.value).lower()
