"""The world behind the API, in this process: no socket, a clock that stands."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.skills.infrastructure.fake_cluster.access import ADMIN
from interlock.skills.infrastructure.fake_cluster.kinds import (
    DEPLOYMENTS,
    EVENTS,
    NAMESPACES,
    PODS,
    REPLICASETS,
    STATEFULSETS,
    Kind,
)
from interlock.skills.infrastructure.fake_cluster.server import Server
from interlock.skills.infrastructure.fake_cluster.times import ServerClock
from interlock.skills.infrastructure.fake_cluster.world.deployments import bounds
from interlock.skills.infrastructure.fake_cluster.world.settings import (
    ImageBehaviour,
    LoadPoint,
    Service,
    WorldSettings,
)
from interlock.skills.infrastructure.fake_cluster.writing import Author
from tests.skills.infrastructure.fake_cluster.speaking import deployment

ME = Author(manager="me")


class Shop:
    """A server with one namespace."""

    def __init__(self) -> None:
        self.server = Server(tokens={"t": ADMIN}, clock=ServerClock(stepped=True, start_ms=1_763_700_000_000))
        self.server.writer.create(NAMESPACES, "", {"metadata": {"name": "shop"}}, ME)
        self.step = self.server.world.step

    def create(self, kind: Kind, item: Any) -> None:
        self.server.writer.create(kind, "shop", item, ME)
        self.server.world.settle()

    def change(self, kind: Kind = DEPLOYMENTS, name: str = "web", /, **spec: Any) -> None:
        item = self.get(kind, name)
        self.server.writer.update(kind, item, {**item, "spec": {**item["spec"], **spec}}, ME)
        self.server.world.settle()

    def get(self, kind: Kind = DEPLOYMENTS, name: str = "web") -> Any:
        return self.server.store.get(kind, "shop", name)

    def all(self, kind: Kind) -> list[Any]:
        return self.server.store.all(kind, "shop")

    def ready(self) -> int:
        return int(self.get()["status"].get("readyReplicas", 0))

    def template(self, image: str) -> Any:
        return deployment(image=image)["spec"]["template"]

    def progressing(self) -> str:
        return str(next(one["reason"] for one in self.get()["status"]["conditions"] if one["type"] == "Progressing"))


@pytest.fixture
def shop() -> Shop:
    shop = Shop()
    shop.create(DEPLOYMENTS, deployment())
    return shop


def test_pods_take_their_time_to_become_ready(shop: Shop) -> None:
    assert shop.get()["status"] == {
        "observedGeneration": 1,
        "replicas": 2,
        "updatedReplicas": 2,
        "unavailableReplicas": 2,
        "conditions": shop.get()["status"]["conditions"],
    }
    shop.step(2_999)
    assert shop.ready() == 0
    shop.step(1)
    assert shop.ready() == 2
    assert shop.progressing() == "NewReplicaSetAvailable"


def test_a_scale_down_takes_the_young_pods(shop: Shop) -> None:
    shop.step(10_000)
    old = {pod["metadata"]["name"] for pod in shop.all(PODS)}
    shop.change(replicas=4)
    shop.step(10_000)
    assert shop.ready() == 4
    shop.change(replicas=2)
    shop.step(10_000)
    assert {pod["metadata"]["name"] for pod in shop.all(PODS)} == old


@settings(max_examples=40)
@given(
    replicas=st.integers(1, 7),
    surge=st.sampled_from([0, 1, 3, "25%", "100%"]),
    unavailable=st.sampled_from([0, 1, "25%", "50%"]),
    ready_ms=st.integers(0, 9_000),
)
def test_a_rolling_update_stays_within_its_bounds(replicas: int, surge: Any, unavailable: Any, ready_ms: int) -> None:
    shop = Shop()
    shop.server.world.configure(WorldSettings(ready_ms=ready_ms))
    if surge == 0 and unavailable == 0:
        surge = 1
    strategy: dict[str, Any] = {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable},
    }
    shop.create(DEPLOYMENTS, deployment(replicas=replicas, strategy=strategy))
    shop.step(20_000)
    shop.change(template=shop.template("shop/web:2"))
    most, least = bounds(strategy["rollingUpdate"], replicas)
    for _ in range(400):
        if shop.progressing() == "NewReplicaSetAvailable":
            break
        assert shop.ready() >= replicas - least
        assert sum(one["spec"]["replicas"] for one in shop.all(REPLICASETS)) <= replicas + most
        shop.step(1_000)
    assert shop.progressing() == "NewReplicaSetAvailable"
    assert {
        pod["spec"]["containers"][0]["image"] for pod in shop.all(PODS) if "deletionTimestamp" not in pod["metadata"]
    } == {"shop/web:2"}


def test_going_back_to_a_template_reuses_its_set_with_a_new_revision(shop: Shop) -> None:
    shop.step(10_000)
    shop.change(template=shop.template("shop/web:2"))
    shop.step(60_000)
    first = shop.all(REPLICASETS)
    shop.change(template=shop.template("shop/web:1"))
    shop.step(60_000)
    assert len(shop.all(REPLICASETS)) == len(first) == 2
    assert shop.get()["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    assert shop.ready() == 2


def test_a_bad_image_stops_the_rollout_and_keeps_what_serves(shop: Shop) -> None:
    shop.step(10_000)
    shop.server.world.configure(WorldSettings(images=[ImageBehaviour(image="shop/web:2", fails="crash")]))
    shop.change(template=shop.template("shop/web:2"), progressDeadlineSeconds=60)
    shop.step(59_000)
    assert shop.ready() == 2
    bad = [pod for pod in shop.all(PODS) if pod["spec"]["containers"][0]["image"] == "shop/web:2"]
    state = bad[0]["status"]["containerStatuses"][0]
    assert state["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert state["restartCount"] >= 2
    assert "BackOff" in {event["reason"] for event in shop.all(EVENTS)}
    shop.step(10_000)
    assert shop.progressing() == "ProgressDeadlineExceeded"
    assert shop.ready() == 2
    shop.change(template=shop.template("shop/web:1"))
    shop.step(10_000)
    assert (shop.ready(), shop.progressing()) == (2, "NewReplicaSetAvailable")


@pytest.mark.parametrize(("fails", "reason"), [("pull", "ImagePullBackOff"), ("never_ready", None)])
def test_pods_that_never_serve(shop: Shop, fails: Any, reason: str | None) -> None:
    shop.server.world.configure(WorldSettings(images=[ImageBehaviour(image="bad", fails=fails)]))
    shop.change(template=shop.template("bad"))
    shop.step(60_000)
    bad = [pod for pod in shop.all(PODS) if pod["spec"]["containers"][0]["image"] == "bad"]
    state = bad[0]["status"]["containerStatuses"][0]
    assert not state["ready"]
    assert state["state"].get("waiting", {}).get("reason") == reason


def test_a_cluster_without_room_leaves_pods_pending(shop: Shop) -> None:
    shop.server.world.configure(WorldSettings(node_cpu_m=150))
    shop.change(replicas=5)
    shop.step(30_000)
    assert shop.ready() == 3
    pending = [pod for pod in shop.all(PODS) if pod["status"]["phase"] == "Pending"]
    assert pending[0]["status"]["conditions"][0]["reason"] == "Unschedulable"
    shop.change(replicas=3)
    shop.step(30_000)
    assert (shop.ready(), len(shop.all(PODS))) == (3, 3)


def test_deleting_takes_what_was_owned(shop: Shop) -> None:
    shop.step(10_000)
    shop.server.writer.delete(DEPLOYMENTS, shop.get())
    shop.step(10_000)
    assert (shop.all(REPLICASETS), shop.all(PODS)) == ([], [])


def test_recreate_ends_the_old_before_it_starts_the_new(shop: Shop) -> None:
    shop.change(strategy={"type": "Recreate"})
    shop.step(10_000)
    shop.change(template=shop.template("shop/web:2"))
    assert shop.ready() == 0
    shop.step(500)
    assert all("deletionTimestamp" in pod["metadata"] for pod in shop.all(PODS))
    shop.step(10_000)
    assert shop.ready() == 2


def test_a_stateful_set_moves_one_pod_at_a_time() -> None:
    shop = Shop()
    item = {**deployment("db", replicas=3), "kind": "StatefulSet"}
    shop.create(STATEFULSETS, item)
    shop.step(1_000)
    assert [pod["metadata"]["name"] for pod in shop.all(PODS)] == ["db-0"]
    shop.step(20_000)
    assert [pod["metadata"]["name"] for pod in shop.all(PODS)] == ["db-0", "db-1", "db-2"]
    shop.change(STATEFULSETS, "db", template=deployment("db", image="shop/db:2")["spec"]["template"])
    for _ in range(60):
        shop.step(1_000)
        assert shop.get(STATEFULSETS, "db")["status"]["readyReplicas"] >= 2
    assert {pod["spec"]["containers"][0]["image"] for pod in shop.all(PODS)} == {"shop/db:2"}
    shop.change(STATEFULSETS, "db", replicas=1)
    shop.step(20_000)
    assert [pod["metadata"]["name"] for pod in shop.all(PODS)] == ["db-0"]


def loaded(shop: Shop, mrps: int, **more: Any) -> None:
    service = Service(namespace="shop", name="web", load=[LoadPoint(at_ms=0, mrps=mrps)], **more)
    shop.server.world.configure(WorldSettings(services=[service]))
    shop.step(30_000)


def measured(shop: Shop, metric: str) -> float:
    """As a Prometheus would tell it."""
    answer = shop.server.world.prometheus("/prometheus/api/v1/query", {"query": f'{metric}{{service="web"}}'}, b"")
    (series,) = json.loads(answer.body)["data"]["result"]
    return float(series["value"][1])


def latency(shop: Shop) -> float:
    return measured(shop, "service_latency_p95_seconds")


def test_load_heats_pods_and_more_pods_cool_them(shop: Shop) -> None:
    shop.step(10_000)
    loaded(shop, 60_000)
    (first, second) = shop.server.world.pod_metrics("shop")
    assert first["containers"][0]["usage"] == {"cpu": "155m", "memory": "65536Ki"}
    assert (first["window"], second["containers"][0]["usage"]["cpu"]) == ("15s", "155m")
    hot = latency(shop)
    shop.change(replicas=4)
    shop.step(30_000)
    assert shop.server.world.pod_metrics("shop")[0]["containers"][0]["usage"]["cpu"] == "80m"
    assert latency(shop) < hot / 2


def test_beyond_its_limit_a_service_loses_requests(shop: Shop) -> None:
    shop.step(10_000)
    loaded(shop, 200_000)
    errors, served = measured(shop, "service_error_ratio"), measured(shop, "service_requests_per_second")
    assert served == pytest.approx(78, abs=1)
    assert errors == pytest.approx(1 - served / 200, abs=0.01)
    assert shop.server.world.pod_metrics("shop")[0]["containers"][0]["usage"]["cpu"] == "200m"


def test_memory_over_the_limit_is_killed(shop: Shop) -> None:
    shop.step(10_000)
    loaded(shop, 1_000, base_memory_bytes=200 * 1024 * 1024)
    state = shop.all(PODS)[0]["status"]["containerStatuses"][0]
    assert state["lastState"]["terminated"]["reason"] == "OOMKilled"
    assert state["restartCount"] >= 1


@pytest.mark.parametrize(("metrics", "told"), [("missing", 0), ("stale", 2)])
def test_a_broken_pipeline_is_missing_or_stale(shop: Shop, metrics: str, told: int) -> None:
    shop.step(10_000)
    loaded(shop, 10_000)
    before = shop.server.world.pod_metrics("shop")
    loaded(shop, 90_000, metrics=metrics)
    after = shop.server.world.pod_metrics("shop")
    assert len(after) == told
    assert after in ([], before), "what is stale shows its old time"


def test_the_same_steps_give_the_same_world() -> None:
    def run() -> Any:
        shop = Shop()
        shop.create(DEPLOYMENTS, deployment())
        loaded(shop, 50_000)
        shop.change(template=shop.template("shop/web:2"))
        shop.step(60_000)
        return [shop.all(kind) for kind in (DEPLOYMENTS, REPLICASETS, PODS, EVENTS)]

    assert run() == run()
