from __future__ import annotations

import copy
from typing import Any

import pytest

from interlock.skills.infrastructure.blueprint.model import MetricQuery, Reliability
from interlock.skills.infrastructure.cluster.drift import drift
from interlock.skills.infrastructure.cluster.errors import Missing
from interlock.skills.infrastructure.cluster.observing import observe, state_of
from interlock.skills.infrastructure.cluster.prometheus import Prometheus
from interlock.skills.infrastructure.cluster.usage import Usage, span_ms, usage_of
from interlock.skills.infrastructure.fake_cluster.world.settings import (
    ImageBehaviour,
    LoadPoint,
    Service,
    WorldSettings,
)
from interlock.skills.infrastructure.observed import ObservedState
from interlock.skills.infrastructure.target import ContainerResources, Probe, RolloutSettings, Target
from tests.skills.infrastructure.cluster.conftest import Stage
from tests.skills.infrastructure.cluster.services import MIB, service
from tests.skills.infrastructure.fake_cluster.speaking import MERGE, deployment

pytestmark = pytest.mark.anyio


async def seen(stage: Stage) -> ObservedState:
    return await observe(stage.cluster, service(stage.namespace), stage.clock)


async def test_a_service_as_it_is(stage: Stage, web: Target) -> None:
    await stage.sleep(20)
    state = await seen(stage)
    assert (state.target.uid, state.replicas, state.ready_replicas, state.owner) == (web.uid, 2, 2, "")
    assert state.resources == ContainerResources(
        cpu_request_m=50, cpu_limit_m=200, memory_request_bytes=64 * MIB, memory_limit_bytes=128 * MIB
    )
    assert (state.pod_cpu_request_m, state.pod_memory_request_bytes) == (50, 64 * MIB)
    assert state.settings == RolloutSettings(strategy="RollingUpdate", max_surge="25%", max_unavailable="25%")
    assert state.rollout is not None
    assert (state.rollout.revision, state.rollout.previous_revision, state.rollout.complete) == (1, None, True)
    assert [(pod.ready, pod.failing, pod.restarts) for pod in state.pods] == [(True, "", 0)] * 2
    for pod in state.pods:
        assert pod.started_ms is not None and pod.ready_changed_ms is not None and pod.usage_at_ms is not None
        assert pod.started_ms < pod.ready_changed_ms < pod.usage_at_ms
        assert (pod.cpu_m, pod.usage_window_ms) == (1, 15_000)


async def test_pods_that_were_not_measured_yet_are_missing_not_idle(stage: Stage) -> None:
    await stage.make(deployment())
    await stage.sleep(4)
    assert stage.fake is not None
    age = stage.fake.now_ms()
    state = await seen(stage)
    if all(pod.usage_at_ms is None for pod in state.pods):  # no scrape fell into these four seconds
        assert {(pod.cpu_m, pod.memory_bytes) for pod in state.pods} == {(None, None)}
    assert age > 0


async def test_without_a_metrics_server_usage_is_missing(stage: Stage, web: Target) -> None:
    await stage.sleep(20)
    for status in (404, 503):
        stage.script(resource="pods", verb="list", after=1, status=status)  # the first list is that of the pods
        state = await seen(stage)
        assert {(pod.cpu_m, pod.memory_bytes, pod.usage_at_ms) for pod in state.pods} == {(None, None, None)}


@pytest.mark.parametrize(
    ("fails", "failing"), [("crash", "CrashLoopBackOff"), ("pull", "ImagePullBackOff"), ("never_ready", "")]
)
async def test_pods_that_cannot_run_say_why(stage: Stage, web: Target, fails: Any, failing: str) -> None:
    assert stage.fake is not None
    stage.fake.configure(WorldSettings(images=[ImageBehaviour(image="bad", fails=fails)]))
    patch = {
        "spec": {"progressDeadlineSeconds": 30, "template": {"spec": {"containers": [{"name": "web", "image": "bad"}]}}}
    }
    await stage.cluster.patch("Deployment", stage.namespace, "web", patch, "application/strategic-merge-patch+json")
    await stage.sleep(40)
    state = await seen(stage)
    bad = [pod for pod in state.pods if not pod.ready]
    assert [pod.failing for pod in bad] == [failing] * len(bad) and bad
    assert state.rollout is not None
    assert (state.rollout.revision, state.rollout.previous_revision) == (2, 1)
    assert (state.rollout.complete, state.rollout.failing) == (False, "ProgressDeadlineExceeded")
    assert state.ready_replicas == 2


async def test_an_object_that_is_not_there(stage: Stage) -> None:
    with pytest.raises(Missing):
        await seen(stage)


async def test_service_metrics_come_with_the_time_they_are_of(stage: Stage, web: Target) -> None:
    assert stage.fake is not None
    load = Service(namespace=stage.namespace, name="web", load=[LoadPoint(at_ms=0, mrps=20_000)])
    stage.fake.configure(WorldSettings(services=[load]))
    await stage.sleep(30)
    label = '{namespace="$namespace",service="$name"}'
    queries = (
        MetricQuery(metric="latency_p95_us", query=f"service_latency_p95_seconds{label}"),
        MetricQuery(metric="throughput_mrps", query=f"service_requests_per_second{label}"),
        MetricQuery(metric="queue_depth", query=f"service_queue_depth{label}"),
    )
    source = Prometheus(
        f"{stage.fake.url}/prometheus", headers={"Authorization": f"Bearer {stage.fake.token}"}, trust=stage.fake.trust
    )
    blueprint = service(stage.namespace)
    answers = await source.ask(blueprint, queries)
    measured = {answer.metric: answer.sample for answer in answers}
    assert measured["queue_depth"] is None
    throughput = measured["throughput_mrps"]
    assert throughput is not None and throughput.value == 20_000
    stage.fake.configure(WorldSettings(services=[Service(namespace=stage.namespace, name="web", metrics="stale")]))
    await stage.sleep(100)
    (late,) = await source.ask(blueprint, queries[1:2])
    assert late.sample is not None
    assert stage.fake.now_ms() - late.sample.at_ms >= 100_000, "what is old says so"
    await stage.sleep(300)
    (gone,) = await source.ask(blueprint, queries[1:2])
    assert gone.sample is None


LIVE: dict[str, Any] = {
    **deployment(),
    "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "5", "generation": 1},
}


def read(change: dict[str, Any], blueprint: Any = None) -> ObservedState:
    live = copy.deepcopy(LIVE)
    live["spec"].update(change)
    return state_of(live, [], {}, [], None, blueprint or service("shop"), 0)


def container(**more: Any) -> dict[str, Any]:
    return {"template": {"spec": {"containers": [{"name": "web", "image": "x", **more}]}}}


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        ({}, []),
        ({"replicas": 0}, ["replicas"]),
        ({"replicas": 5}, []),
        ({"replicas": 6}, ["replicas"]),
        ({"template": {"spec": {"containers": [{"name": "other"}]}}}, ["container", "readiness_probe"]),
        (
            container(),
            ["cpu_request_m", "cpu_limit_m", "memory_request_bytes", "memory_limit_bytes", "readiness_probe"],
        ),
        (
            container(
                resources={
                    "limits": {"cpu": "0.2", "memory": "131072Ki"},
                    "requests": {"cpu": "0.05", "memory": "67108864"},
                }
            ),
            ["readiness_probe"],
        ),
    ],
)
def test_drift_names_each_field_and_its_place(spec: dict[str, Any], fields: list[str]) -> None:
    probe = Probe(initial_delay_s=1, period_s=10, timeout_s=1, failure_threshold=3)
    blueprint = service("shop", reliability=Reliability(readiness_probe=probe))
    if not spec or "replicas" in spec:
        blueprint = service("shop")
    found = drift(blueprint, read(spec, blueprint))
    assert [one.field for one in found] == fields
    assert all(one.reference.startswith("spec.") for one in found)
    if fields[:1] == ["cpu_request_m"]:
        assert str(found[0]) == "cpu_request_m is None, spec.resources.cpu.request says 50"


def test_drift_of_probes_and_strategy() -> None:
    probe = Probe(initial_delay_s=1, period_s=10, timeout_s=1, failure_threshold=3)
    wanted = RolloutSettings(strategy="RollingUpdate", max_surge="1", max_unavailable="0")
    blueprint = service("shop", reliability=Reliability(readiness_probe=probe), deployment=wanted)
    live = container(readinessProbe={"initialDelaySeconds": 9, "periodSeconds": 10})
    live["strategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}}
    found = {str(one) for one in drift(blueprint, read(live, blueprint))}
    assert "max_surge is 25%, spec.deployment.max_surge says 1" in found
    assert "initial_delay_s is 9, spec.reliability.readiness_probe.initial_delay says 1" in found
    assert not any("max_unavailable" in one for one in found)


@pytest.mark.parametrize(
    ("text", "ms"), [("15s", 15_000), ("1m0s", 60_000), ("1m30.5s", 90_500), ("500ms", 500), ("1h", 3_600_000), ("", 0)]
)
def test_spans(text: str, ms: int) -> None:
    assert span_ms(text) == ms


async def test_half_a_measurement_is_none(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def pod(name: str, *usages: Any, timestamp: str = "2026-11-21T11:00:00Z") -> dict[str, Any]:
        return {
            "metadata": {"name": name},
            "timestamp": timestamp,
            "window": "15s",
            "containers": [{"usage": usage} for usage in usages],
        }

    async def listed(*_: Any) -> tuple[list[Any], str]:
        items = [
            pod("whole", {"cpu": "1500u", "memory": "1Ki"}, {"cpu": "2m", "memory": "1"}),
            pod("half", {"cpu": "1m", "memory": "1Ki"}, {"cpu": "2m"}),
            pod("empty"),
            pod("wrong", {"cpu": "much", "memory": "1Ki"}),
            pod("timeless", {"cpu": "1m", "memory": "1Ki"}, timestamp="soon"),
        ]
        return items, ""

    monkeypatch.setattr(stage.cluster, "list", listed)
    found = await usage_of(stage.cluster, "shop", "")
    at_ms = found["whole"].at_ms
    assert found == {
        "whole": Usage(cpu_m=4, memory_bytes=1025, at_ms=at_ms, window_ms=15_000),
        "half": Usage(cpu_m=3, memory_bytes=None, at_ms=at_ms, window_ms=15_000),
        "empty": Usage(cpu_m=None, memory_bytes=None, at_ms=at_ms, window_ms=15_000),
        "wrong": Usage(cpu_m=None, memory_bytes=1024, at_ms=at_ms, window_ms=15_000),
    }


async def test_the_replicas_are_not_those_of_somebody_else(stage: Stage, web: Target) -> None:
    """Pods with the same labels that another object controls are not counted."""
    await stage.make({**deployment(), "metadata": {"name": "twin", "labels": {"app": "web"}}})
    await stage.sleep(20)
    await stage.cluster.patch("Deployment", stage.namespace, "twin", {"spec": {"replicas": 4}}, MERGE)
    await stage.sleep(20)
    assert len((await seen(stage)).pods) == 2
