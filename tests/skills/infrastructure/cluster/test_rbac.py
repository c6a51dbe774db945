"""deploy/rbac gives what is needed and nothing more."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml

from interlock.bus.clock import ManualClock
from interlock.skills.infrastructure.cluster.client import MERGE, STRATEGIC, Cluster, open_cluster
from interlock.skills.infrastructure.cluster.errors import ClusterError
from interlock.skills.infrastructure.cluster.execution import Executor
from interlock.skills.infrastructure.cluster.observing import observe
from interlock.skills.infrastructure.cluster.outcomes import target_of
from interlock.skills.infrastructure.cluster.patience import Patience
from interlock.skills.infrastructure.cluster.restoring import roll_back
from interlock.skills.infrastructure.cluster.watching import watch
from interlock.skills.infrastructure.fake_cluster.launching import FakeCluster
from interlock.skills.infrastructure.operations import (
    Operation,
    PatchResources,
    PodName,
    RestartPods,
    RolloutUndo,
    Scale,
)
from interlock.skills.infrastructure.target import Target
from tests.skills.infrastructure.cluster.services import service
from tests.skills.infrastructure.cluster.test_executing import AFTER, BEFORE
from tests.skills.infrastructure.fake_cluster.speaking import USER, Api, deployment

pytestmark = pytest.mark.anyio

FILE = Path(__file__).parents[4] / "deploy" / "rbac" / "blueprints.yaml"
DOCUMENTS = list(yaml.safe_load_all(FILE.read_text()))
OBSERVER = "system:serviceaccount:interlock:interlock-observer"
_numbers = count(1)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeCluster]:
    with FakeCluster(tmp_path_factory.mktemp("guarded"), users=[USER, OBSERVER]) as fake:
        yield fake


def bound(role: str, namespace: str) -> list[Any]:
    """The file, and the binding that its head tells to make."""
    binding = {
        "kind": "RoleBinding",
        "metadata": {"name": role, "namespace": namespace},
        "roleRef": {"kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": role, "namespace": "interlock"}],
    }
    return [*DOCUMENTS, binding]


class Shop:
    """A namespace with a Deployment and a StatefulSet, each with a second revision."""

    def __init__(self, fake: FakeCluster, cluster: Cluster, namespace: str, tmp_path: Path) -> None:
        self.fake, self.cluster, self.namespace = fake, cluster, namespace
        self.clock = ManualClock()
        self.executor = Executor(cluster, proposals=tmp_path, clock=self.clock, sleep=self.sleep, deadline_ms=1_000)

    async def sleep(self, seconds: float) -> None:
        self.clock.advance(round(seconds * 1000))

    async def everything(self, kind: str) -> list[str]:
        """Does all that there is to do; gives what was not possible."""
        failed: list[str] = []
        name = kind.lower()
        try:
            state = await observe(self.cluster, service(self.namespace, kind, name), self.clock)
        except ClusterError as error:
            return [error.detail]
        if state.rollout is None or state.pods[0].cpu_m is None:
            failed.append("parts of the state cannot be seen")
        pods = tuple(PodName(name=pod.name, uid=pod.uid) for pod in state.pods[:1])
        makes: list[Callable[[Target], Operation]] = [
            lambda target: RestartPods(target=target, pods=pods),
            lambda target: Scale(target=target, from_replicas=2, replicas=3),
            lambda target: PatchResources(target=target, container=name, before=BEFORE, after=AFTER),
            lambda target: RolloutUndo(target=target, to_revision=1),
        ]
        for make in makes:
            target = target_of(await self.cluster.get(kind, self.namespace, name), kind)
            operation = make(target)
            outcome = await self.executor.execute(operation)
            if outcome.status == "done" and not isinstance(operation, RestartPods):
                outcome = await roll_back(self.cluster, outcome, Patience.of(1_000, self.clock, self.sleep))
            if outcome.status not in ("done", "rolled_back"):
                failed.append(outcome.detail)
        return failed

    async def watched(self, kind: str) -> list[str]:
        try:
            async for _ in watch(self.cluster, kind, self.namespace, sleep=self.sleep):
                break
            lines = self.cluster.lines(
                f"/apis/apps/v1/namespaces/{self.namespace}/{kind.lower()}s",
                {"watch": "true", "timeoutSeconds": "1"},
                5,
            )
            async for _ in lines:
                pass
        except ClusterError as error:
            return [error.detail]
        return []


@pytest.fixture
async def shop(guarded: FakeCluster, tmp_path: Path) -> AsyncIterator[Shop]:
    namespace = f"shop-{next(_numbers)}"
    admin = Api(guarded, namespace)
    admin("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    for kind in ("Deployment", "StatefulSet"):
        admin("POST", f"{kind.lower()}s", {**deployment(kind.lower()), "kind": kind})
    guarded.step(20_000)
    for kind in ("Deployment", "StatefulSet"):
        patch = {"spec": {"template": {"metadata": {"annotations": {"second": "yes"}}}}}
        admin("PATCH", f"{kind.lower()}s/{kind.lower()}", patch, content_type=STRATEGIC)
    guarded.step(60_000)
    async with open_cluster(guarded.kubeconfig_for(USER)) as cluster:
        yield Shop(guarded, cluster, namespace, tmp_path)
    admin("DELETE", "deployments")
    admin("DELETE", "statefulsets")


async def test_the_executor_can_do_everything_with_its_role(shop: Shop) -> None:
    shop.fake.enforce(bound("interlock-executor", shop.namespace))
    for kind in ("Deployment", "StatefulSet"):
        assert await shop.everything(kind) == []
        assert await shop.watched(kind) == []


async def test_in_another_namespace_it_can_do_nothing(shop: Shop) -> None:
    shop.fake.enforce(bound("interlock-executor", "elsewhere"))
    (failure,) = await shop.everything("Deployment")
    assert "cannot get resource" in failure


def less() -> Iterator[tuple[str, list[Any]]]:
    """The documents without one verb on one resource of the executor's role, for each."""
    role = next(
        doc for doc in DOCUMENTS if doc["kind"] == "ClusterRole" and doc["metadata"]["name"] == "interlock-executor"
    )
    for number, rule in enumerate(role["rules"]):
        for resource in rule["resources"]:
            for verb in rule["verbs"]:
                fewer = copy.deepcopy(DOCUMENTS)
                found = next(doc for doc in fewer if doc["metadata"]["name"] == "interlock-executor" and "rules" in doc)
                rest = found["rules"].pop(number)
                for kept in rest["resources"]:
                    verbs = [one for one in rest["verbs"] if (kept, one) != (resource, verb)]
                    found["rules"].append({"apiGroups": rest["apiGroups"], "resources": [kept], "verbs": verbs})
                yield f"{verb} {resource}", fewer


@pytest.mark.parametrize("documents", [found for _, found in less()], ids=[name for name, _ in less()])
async def test_no_verb_is_there_for_nothing(shop: Shop, documents: list[Any]) -> None:
    shop.fake.enforce([*documents, bound("interlock-executor", shop.namespace)[-1]])
    failed = []
    for kind in ("Deployment", "StatefulSet"):
        failed += await shop.watched(kind) + await shop.everything(kind)
    assert failed


async def test_the_observer_sees_and_does_not_touch(shop: Shop) -> None:
    shop.fake.enforce(bound("interlock-observer", shop.namespace))
    async with open_cluster(shop.fake.kubeconfig_for(OBSERVER)) as cluster:
        state = await observe(cluster, service(shop.namespace, "Deployment", "deployment"), shop.clock)
        assert state.rollout is not None
        with pytest.raises(ClusterError, match="cannot patch"):
            await cluster.patch("Deployment", shop.namespace, "deployment", {"spec": {"replicas": 9}}, MERGE)
