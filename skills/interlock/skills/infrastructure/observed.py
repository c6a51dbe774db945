"""What was seen of a service at one moment. Missing is None, never 0: nobody may scale down because nobody measured."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from interlock.skills.infrastructure.target import ContainerResources, Probe, RolloutSettings, Target

MetricName = Literal[
    "latency_p50_us",
    "latency_p95_us",
    "latency_p99_us",
    "throughput_mrps",
    "error_rate_ppm",
    "availability_ppm",
    "queue_depth",
]
"""Metrics of a service as a whole, as integers: µs, thousandths of a request per second, parts per million, items."""


class Sample(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One value of one metric and when it was true. There is one sample per name at most; a missing one is missing."""

    name: MetricName
    value: int
    at_ms: int


class PodState(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One pod.

    ready: its Ready condition, None if it has none yet; ready_changed_ms: that condition's last transition.
    cpu_m, memory_bytes: usage summed over its containers, None where the metrics source gave none; usage_at_ms and
    usage_window_ms: when the usage was taken and over what span before.
    failing: why it cannot run (`CrashLoopBackOff`, `ImagePullBackOff`, `OOMKilled`…), empty if it can.
    """

    name: str
    uid: str = ""
    phase: Literal["Pending", "Running", "Succeeded", "Failed", "Unknown"] = "Running"
    deleting: bool = False
    ready: bool | None = None
    ready_changed_ms: int | None = None
    started_ms: int | None = None
    cpu_m: int | None = None
    memory_bytes: int | None = None
    usage_at_ms: int | None = None
    usage_window_ms: int = 0
    restarts: int = 0
    failing: str = ""


class RolloutState(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the rollout of the pod template stands. failing: `ProgressDeadlineExceeded` or empty; previous_revision:
    what an undo would go back to, None if there is nothing.
    """

    revision: int
    previous_revision: int | None = None
    complete: bool = True
    failing: str = ""


class ObservedState(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service at at_ms (UTC milliseconds).

    replicas: what the object asks for; ready_replicas: what its status says. resources, settings, probes: as the object has
    them, None where not read. pod_cpu_request_m, pod_memory_request_bytes: summed over the containers of a pod, None if
    one of them asks for nothing (then utilisation is not defined, as for the HPA).
    owner: `Argo CD` or `Flux` if one of them keeps the object, else empty.
    """

    target: Target
    at_ms: int
    replicas: int
    ready_replicas: int
    pods: tuple[PodState, ...] = ()
    metrics: tuple[Sample, ...] = ()
    container: str = ""
    resources: ContainerResources | None = None
    pod_cpu_request_m: int | None = None
    pod_memory_request_bytes: int | None = None
    settings: RolloutSettings | None = None
    readiness: Probe | None = None
    liveness: Probe | None = None
    rollout: RolloutState | None = None
    owner: str = ""

    def sample(self, name: MetricName) -> Sample | None:
        """The sample of that name, None if there is none."""
        return next((sample for sample in self.metrics if sample.name == name), None)
