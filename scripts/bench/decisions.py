"""Two hundred services in one process: what a decision costs of the processor, and what all of them keep in memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

import msgspec

from interlock.skills.infrastructure.blueprint.model import (
    Blueprint,
    Cpu,
    Memory,
    Performance,
    Resources,
    Scaling,
    ScalingMetricType,
    TargetObject,
    WeightedMetric,
)
from interlock.skills.infrastructure.decision.decide import decide
from interlock.skills.infrastructure.decision.history import History
from interlock.skills.infrastructure.decision.remembering import began, ended, looked
from interlock.skills.infrastructure.observed import MetricName, ObservedState, PodState, Sample
from interlock.skills.infrastructure.operations import Scale

SERVICES = 200
LOOKS = 60
STEP_MS = 15_000
MIB = 1 << 20
METRICS: dict[MetricName, int] = {
    "latency_p50_us": 50_000,
    "latency_p95_us": 150_000,
    "latency_p99_us": 300_000,
    "throughput_mrps": 90_000,
    "error_rate_ppm": 100,
    "availability_ppm": 999_950,
    "queue_depth": 3,
}


def blueprint(number: int) -> Blueprint:
    weights: dict[ScalingMetricType, int] = {
        "cpu": 30,
        "memory": 20,
        "latency": 20,
        "throughput": 10,
        "error_rate": 10,
        "queue_depth": 10,
    }
    return Blueprint(
        name=f"service-{number}",
        version="1.0.0",
        target=TargetObject(namespace="bench", kind="Deployment", name=f"service-{number}", container="main"),
        resources=Resources(
            cpu=Cpu(request_m=100, limit_m=400), memory=Memory(request_bytes=100 * MIB, limit_bytes=400 * MIB)
        ),
        scaling=Scaling(
            min_replicas=1,
            max_replicas=20,
            target_replicas=5,
            metrics=tuple(WeightedMetric(type=name, weight_ppm=share * 10_000) for name, share in weights.items()),
        ),
        performance=Performance(
            latency_p50_us=100_000,
            latency_p95_us=200_000,
            latency_p99_us=500_000,
            throughput_min_mrps=10_000,
            throughput_target_mrps=200_000,
            availability_ppm=999_000,
            error_rate_max_ppm=10_000,
            queue_depth_max=100,
        ),
    )


def state(like: Blueprint, replicas: int, share: int, now_ms: int) -> ObservedState:
    """Every pod uses share percent of its request."""
    pods = tuple(
        PodState(
            name=f"{like.name}-{index}",
            uid=f"{like.name}-{index}",
            ready=True,
            started_ms=0,
            ready_changed_ms=20_000,
            cpu_m=share,
            memory_bytes=share * MIB,
            usage_at_ms=now_ms,
        )
        for index in range(replicas)
    )
    return ObservedState(
        target=like.unread_target,
        at_ms=now_ms,
        replicas=replicas,
        ready_replicas=replicas,
        pods=pods,
        metrics=tuple(Sample(name=name, value=value, at_ms=now_ms) for name, value in METRICS.items()),
        container="main",
        resources=like.resources.of_container(),
        pod_cpu_request_m=100,
        pod_memory_request_bytes=100 * MIB,
    )


def measure() -> dict[str, float]:
    """LOOKS looks at each service; every decision is taken through history as the loop does it."""
    services = [blueprint(number) for number in range(SERVICES)]
    histories = [History()] * SERVICES
    replicas = [5] * SERVICES
    samples: list[int] = []
    acted = 0
    for look in range(LOOKS):
        now_ms = 10_000_000 + look * STEP_MS
        for number, like in enumerate(services):
            share = 10 + (number * 7 + look * 13) % 110
            seen = state(like, replicas[number], share, now_ms)
            began_ns = time.process_time_ns()
            decision = decide(like, seen, histories[number], now_ms)
            history = looked(histories[number], like, decision)
            samples.append(time.process_time_ns() - began_ns)
            if decision.target.name != like.name:
                raise SystemExit(f"{like.name} was answered for {decision.target}")
            if isinstance(decision.operation, Scale):
                acted += 1
                history = ended(began(history, like, decision, now_ms), like, decision, "done")
                replicas[number] = decision.operation.replicas
            histories[number] = history
    if not acted:
        raise SystemExit("200 services under changing load, and nothing was decided")
    samples.sort()
    return {
        "decision_cpu_p50_ms": samples[len(samples) // 2] / 1e6,
        "decision_cpu_p95_ms": samples[len(samples) * 95 // 100] / 1e6,
        "decisions_200_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "history_bytes_at_most": max(len(msgspec.json.encode(history)) for history in histories),
    }


def alone() -> dict[str, float]:
    """The same in a process of its own, so that nobody else's memory is counted."""
    ran = subprocess.run([sys.executable, __file__], check=True, capture_output=True, text=True)
    answer: dict[str, float] = json.loads(ran.stdout)
    return answer


if __name__ == "__main__":
    print(json.dumps(measure()))
