"""A service that is computed: pods that start and end, and what follows from the load that is offered to them.

A pod answers at most limit / work requests per second. Below that, requests wait as in M/M/c (Sakasegawa's approximation
of the mean wait); above it they pile up and are given up after TIMEOUT_MS. This is a model to try blueprints on, not a
forecast.
"""

from __future__ import annotations

from math import log, sqrt

from msgspec import Struct

from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.decision.evidence import leading_latency, mrps_per_replica
from interlock.skills.infrastructure.observed import ObservedState, PodState, RolloutState, Sample
from interlock.skills.infrastructure.target import ContainerResources
from interlock.skills.infrastructure.trace import Row

TIMEOUT_MS = 10_000
STARTUP_MS = 20_000
# Of the memory that the blueprint requests, whatever is set later: an idle pod's, and what a busy one has beside.
MEMORY_IDLE, MEMORY_BUSY = 0.35, 0.35
# Percentiles of one answer that never waited, as multiples of the median.
SPREAD = {"latency_p50_us": (1.0, 0.50), "latency_p95_us": (1.5, 0.95), "latency_p99_us": (2.0, 0.99)}
_NEARLY_FULL = 0.98


class Pod(Struct, kw_only=True):
    """One pod of the service; it serves from ready_ms on."""

    name: str
    started_ms: int
    ready_ms: int


class Served(Struct, frozen=True, kw_only=True):
    """What one stretch of time was like. used_m: millicores per serving pod."""

    used_m: int
    memory_bytes: int
    values: dict[str, int]


class Service:
    """now_ms goes on with advance(). resources: as they are set on the object."""

    def __init__(self, blueprint: Blueprint, replicas: int, now_ms: int, work_us: int | None) -> None:
        self.blueprint = blueprint
        self.resources = blueprint.resources.of_container()
        self.startup_ms = startup_ms(blueprint)
        self.work_us = work_us or usual_work_us(blueprint)
        self.backlog = 0.0
        self.revision = 1
        self.made = 0
        long_ago = now_ms - 3_600_000
        self.pods = [self._pod(long_ago, long_ago + self.startup_ms) for _ in range(replicas)]

    def _pod(self, started_ms: int, ready_ms: int) -> Pod:
        self.made += 1
        return Pod(name=f"{self.blueprint.target.name}-{self.made}", started_ms=started_ms, ready_ms=ready_ms)

    @property
    def replicas(self) -> int:
        return len(self.pods)

    def serving(self, now_ms: int) -> int:
        """Pods that answer."""
        return sum(pod.ready_ms <= now_ms for pod in self.pods)

    def scale(self, replicas: int, now_ms: int) -> None:
        """New pods take startup_ms; the youngest go first."""
        del self.pods[replicas:]
        while len(self.pods) < replicas:
            self.pods.append(self._pod(now_ms, now_ms + self.startup_ms))

    def set_resources(self, resources: ContainerResources) -> None:
        """As a rolling update with a surge does it: the pods that serve go on serving."""
        self.resources = resources
        self.revision += 1

    def advance(self, now_ms: int, passed_ms: int, offered_mrps: int, work_us: int | None) -> Served:
        """What happens in the passed_ms before now_ms, at that load."""
        work_us = work_us or self.work_us or 1
        pods = max(1, self.serving(now_ms))
        limit_m = self.resources.cpu_limit_m or self.blueprint.resources.cpu.limit_m
        offered, capacity = offered_mrps / 1000, pods * limit_m * 1000 / work_us
        seconds = passed_ms / 1000
        arrived = self.backlog + offered * seconds
        served = min(arrived, capacity * seconds)
        given_up = max(0.0, arrived - served - capacity * TIMEOUT_MS / 1000)
        self.backlog = arrived - served - given_up
        rate = served / seconds if seconds else 0.0
        busy = min(_NEARLY_FULL, offered / capacity)
        wait_us = busy ** (sqrt(2 * (pods + 1)) - 1) / (pods * (1 - busy)) * 1_000_000 * pods / capacity
        wait_us += self.backlog / capacity * 1_000_000
        base_us = base_latency_us(self.blueprint)
        lost = given_up / (served + given_up) if served + given_up else 0.0
        values = {name: round(base_us * times + wait_us * log(1 / (1 - at))) for name, (times, at) in SPREAD.items()}
        memory = self.blueprint.resources.memory.request_bytes
        return Served(
            used_m=round(rate * work_us / 1000 / pods),
            memory_bytes=round(memory * (MEMORY_IDLE + MEMORY_BUSY * busy)),
            values={
                **values,
                "throughput_mrps": round(rate * 1000),
                "error_rate_ppm": round(lost * 1_000_000),
                "availability_ppm": round((1 - lost) * 1_000_000),
                "queue_depth": round(self.backlog),
            },
        )

    def observe(
        self, now_ms: int, at_ms: int, used_m: int | None, memory: int | None, values: dict[str, int]
    ) -> ObservedState:
        """The state as an observer would tell it; measured at at_ms."""
        pods = tuple(self._seen(pod, now_ms, at_ms, used_m, memory) for pod in self.pods)
        return ObservedState(
            target=self.blueprint.unread_target,
            at_ms=now_ms,
            replicas=self.replicas,
            ready_replicas=self.serving(now_ms),
            pods=pods,
            metrics=tuple(Sample(name=name, value=value, at_ms=at_ms) for name, value in values.items()),  # type: ignore[arg-type]
            container=self.blueprint.target.container,
            resources=self.resources,
            pod_cpu_request_m=self.resources.cpu_request_m,
            pod_memory_request_bytes=self.resources.memory_request_bytes,
            rollout=RolloutState(revision=self.revision, previous_revision=self.revision - 1 or None),
        )

    def _seen(self, pod: Pod, now_ms: int, at_ms: int, used_m: int | None, memory: int | None) -> PodState:
        ready = pod.ready_ms <= now_ms
        return PodState(
            name=pod.name,
            uid=pod.name,
            ready=ready,
            started_ms=pod.started_ms,
            ready_changed_ms=pod.ready_ms if ready else pod.started_ms,
            cpu_m=used_m if ready else 0,
            memory_bytes=memory,
            usage_at_ms=at_ms if used_m is not None or memory is not None else None,
        )


def startup_ms(blueprint: Blueprint) -> int:
    """Until a new pod serves: the readiness probe's initial delay and one period; STARTUP_MS without a probe."""
    probe = blueprint.reliability.readiness_probe
    return (probe.initial_delay_s + probe.period_s) * 1000 if probe is not None else STARTUP_MS


def usual_work_us(blueprint: Blueprint) -> int | None:
    """Processor time per request at which the throughput a replica is meant to carry uses the target utilisation."""
    each = mrps_per_replica(blueprint)
    if each is None:
        return None
    cpu = blueprint.resources.cpu
    return max(1, round(cpu.request_m * cpu.target_utilization_ppm / each))


def base_latency_us(blueprint: Blueprint) -> int:
    """The median of answers that do not wait: a sixth of the leading latency target, 20 ms without one."""
    _, target = leading_latency(blueprint)
    return target // 6 if target is not None else 20_000


def measured(row: Row) -> dict[str, int]:
    """The service's metrics that a row tells."""
    names = ("latency_p50_us", "latency_p95_us", "latency_p99_us", "throughput_mrps")
    more = ("error_rate_ppm", "availability_ppm", "queue_depth")
    return {name: value for name in (*names, *more) if (value := getattr(row, name)) is not None}
