"""Load on services: requests spread over ready pods become CPU, memory, latency and errors.

A queue's law in its simplest form: latency = base / (1 - utilisation), utilisation against the CPU limit; beyond the limit
requests are lost.
"""

from __future__ import annotations

from dataclasses import dataclass

from interlock.skills.infrastructure.fake_cluster.kinds import PODS
from interlock.skills.infrastructure.fake_cluster.store import Object
from interlock.skills.infrastructure.fake_cluster.times import stamp
from interlock.skills.infrastructure.fake_cluster.world.ground import Ground
from interlock.skills.infrastructure.fake_cluster.world.kubelet import Kubelet, sum_resources
from interlock.skills.infrastructure.fake_cluster.world.replicas import is_ready
from interlock.skills.infrastructure.fake_cluster.world.settings import Service
from interlock.skills.infrastructure.fake_cluster.world.workloads import IDLE_MEMORY_BYTES, pods_of, workload_of

_UNLIMITED_CPU_M = 1_000_000
_SLOWEST_FACTOR = 20  # latency does not grow for ever: clients give up


@dataclass(frozen=True, slots=True)
class Usage:
    """One measurement of one pod."""

    at_ms: int
    cpu_m: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Series:
    """One measurement of one service metric. name and labels: as Prometheus would show it."""

    name: str
    namespace: str
    service: str
    value: float
    at_ms: int


class Load:
    """What was measured last, per pod and per service."""

    def __init__(self, ground: Ground, kubelet: Kubelet) -> None:
        self._ground = ground
        self._kubelet = kubelet
        self._began_ms = 0
        self._usage: dict[str, Usage] = {}
        self._series: dict[tuple[str, str], list[Series]] = {}

    def begin(self) -> None:
        """Time zero of the load is now. What was measured before stays until it is measured again."""
        if not self._began_ms:
            self._began_ms = self._ground.now_ms()

    def scrape(self) -> None:
        """Measures every running pod and every service."""
        named = {(service.namespace, service.name) for service in self._ground.settings.services}
        for service in self._ground.settings.services:
            if service.metrics == "ok":
                self._measure(service)
            elif service.metrics == "missing":
                self._series.pop((service.namespace, service.name), None)
                for pod in pods_of(self._ground, service):
                    self._usage.pop(pod["metadata"]["uid"], None)
        for pod in self._ground.store.all(PODS):
            if workload_of(pod) not in named and self._kubelet.started_ms(pod):
                self._usage[pod["metadata"]["uid"]] = Usage(self._ground.now_ms(), 1, IDLE_MEMORY_BYTES)
        alive = {pod["metadata"]["uid"] for pod in self._ground.store.all(PODS)}
        self._usage = {uid: usage for uid, usage in self._usage.items() if uid in alive}

    def now_ms(self) -> int:
        return self._ground.now_ms()

    def series(self, name: str) -> list[Series]:
        """All measurements of one metric, one per service."""
        return [one for listed in self._series.values() for one in listed if one.name == name]

    def pod_metrics(self, namespace: str) -> list[Object]:
        """PodMetrics of pods that were measured."""
        found = []
        for pod in self._ground.store.all(PODS, namespace):
            usage = self._usage.get(pod["metadata"]["uid"])
            if usage is not None and pod["status"].get("phase") == "Running":
                found.append(_as_pod_metrics(pod, usage, self._ground.settings.scrape_ms))
        return found

    def mrps(self, service: Service) -> int:
        """Requests per 1,000 s that arrive now."""
        age = self._ground.now_ms() - self._began_ms
        past = [point for point in service.load if point.at_ms <= age]
        return max(past, key=lambda point: point.at_ms).mrps if past else 0

    def _measure(self, service: Service) -> None:
        now = self._ground.now_ms()
        pods = pods_of(self._ground, service)
        ready = [pod for pod in pods if is_ready(pod)]
        arriving = self.mrps(service)
        each = arriving // len(ready) if ready else 0
        served, slowest = 0, 0
        for pod in pods:
            if not self._kubelet.started_ms(pod):
                self._usage.pop(pod["metadata"]["uid"], None)
                continue
            share = each if is_ready(pod) else 0
            wanted_m = share * service.cpu_um_per_request // 1_000_000
            limit_m = sum_resources(pod, "limits", "cpu") or _UNLIMITED_CPU_M
            room_m = max(1, limit_m - service.idle_cpu_m)
            memory = service.base_memory_bytes + share * service.memory_bytes_per_mrps
            self._usage[pod["metadata"]["uid"]] = Usage(now, min(limit_m, service.idle_cpu_m + wanted_m), memory)
            served += share if wanted_m <= room_m else share * room_m // wanted_m
            free = max(room_m - wanted_m, room_m / _SLOWEST_FACTOR)
            slowest = max(slowest, round(service.base_latency_us * room_m / free))
            self._kubelet.used(pod, memory)
        values: dict[str, float] = {
            "service_requests_per_second": served / 1000,
            "service_error_ratio": (arriving - served) / arriving if arriving else 0.0,
            "service_availability_ratio": served / arriving if arriving else 1.0,
        }
        if ready:
            values["service_latency_p95_seconds"] = slowest / 1_000_000
            values["service_latency_p50_seconds"] = slowest / 2_500_000
            values["service_latency_p99_seconds"] = slowest * 1.6 / 1_000_000
        self._series[(service.namespace, service.name)] = [
            Series(name, service.namespace, service.name, value, now) for name, value in values.items()
        ]


def _as_pod_metrics(pod: Object, usage: Usage, window_ms: int) -> Object:
    metadata = pod["metadata"]
    # All of a pod's usage is told of its first container: the world does not look inside.
    names = [container["name"] for container in pod["spec"]["containers"]]
    containers = [
        {
            "name": name,
            "usage": {"cpu": f"{usage.cpu_m * (at == 0)}m", "memory": f"{usage.memory_bytes * (at == 0) // 1024}Ki"},
        }
        for at, name in enumerate(names)
    ]
    return {
        "kind": "PodMetrics",
        "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "creationTimestamp": stamp(usage.at_ms),
            "labels": metadata.get("labels") or {},
        },
        "timestamp": stamp(usage.at_ms),
        "window": f"{window_ms // 1000}s",
        "containers": containers,
    }
