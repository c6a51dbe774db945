"""A blueprint that was read and found right. Only reading.py makes one out of a file; everything else takes these values
as given.

Numbers are integers: processor time in millicores (`_m`), memory in bytes, durations in ms (latencies in µs, `_us`),
shares and weights in parts per million (`_ppm`: 70 % is 700_000), throughput in thousandths of a request per second
(`_mrps`), money in micro-USD. Defaults are those of schema.yaml; a test holds the two together.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from msgspec import Struct

from interlock.envelope.canonical import canonical
from interlock.skills.infrastructure.observed import MetricName
from interlock.skills.infrastructure.target import ContainerResources, Probe, RolloutSettings, Target

API_VERSION = "infra.spec-driven.io/v1"
KIND = "InfrastructureBlueprint"
WHOLE_PPM = 1_000_000

ScalingMetricType = Literal["cpu", "memory", "latency", "throughput", "error_rate", "queue_depth"]


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class TargetObject(_Part, frozen=True):
    """The object that is run, and which of its containers resources and probes are about."""

    namespace: str
    kind: Literal["Deployment", "StatefulSet"]
    name: str
    container: str


class Cpu(_Part, frozen=True):
    """Request and limit in millicores."""

    request_m: int
    limit_m: int
    target_utilization_ppm: int = 700_000
    optimization_threshold_ppm: int = 100_000


class Memory(_Part, frozen=True):
    """Request and limit in bytes."""

    request_bytes: int
    limit_bytes: int
    target_utilization_ppm: int = 800_000
    optimization_threshold_ppm: int = 100_000


class Resources(_Part, frozen=True):
    """What one container asks for."""

    cpu: Cpu
    memory: Memory
    ephemeral_storage_bytes: int | None = None

    def of_container(self) -> ContainerResources:
        """The same, as an operation writes it."""
        return ContainerResources(
            cpu_request_m=self.cpu.request_m,
            cpu_limit_m=self.cpu.limit_m,
            memory_request_bytes=self.memory.request_bytes,
            memory_limit_bytes=self.memory.limit_bytes,
        )


class Performance(_Part, frozen=True):
    """Targets of the service as a whole. None: the blueprint asks for nothing."""

    latency_p50_us: int | None = None
    latency_p95_us: int | None = None
    latency_p99_us: int | None = None
    throughput_min_mrps: int | None = None
    throughput_target_mrps: int | None = None
    availability_ppm: int | None = None
    error_rate_max_ppm: int | None = None
    queue_depth_max: int | None = None


class WeightedMetric(_Part, frozen=True):
    """One metric's share in a scaling decision. The shares of a blueprint sum to WHOLE_PPM exactly."""

    type: ScalingMetricType
    weight_ppm: int


class Scaling(_Part, frozen=True):
    """How many replicas, and when to change that.

    mode: `thresholds` (weighted score against the two thresholds, in steps of the increments) or `target_utilization`
    (the arithmetic of the HorizontalPodAutoscaler).
    on_missing_metrics: `hold` (do nothing while a weighted metric is missing or older than metrics_max_age_ms) or
    `shrink` (act on what is there, and count what is missing against the action). Neither ever scales down on it.
    stabilization_window_ms: scale down only to the highest number that was recommended in it.
    """

    min_replicas: int
    max_replicas: int
    target_replicas: int | None = None
    mode: Literal["thresholds", "target_utilization"] = "thresholds"
    scale_up_threshold_ppm: int = 800_000
    scale_down_threshold_ppm: int = 300_000
    scale_up_increment: int = 1
    scale_down_increment: int = 1
    scale_up_cooldown_ms: int = 60_000
    scale_down_cooldown_ms: int = 60_000
    tolerance_ppm: int = 100_000
    stabilization_window_ms: int = 300_000
    metrics_max_age_ms: int = 120_000
    on_missing_metrics: Literal["hold", "shrink"] = "hold"
    metrics: tuple[WeightedMetric, ...] = (WeightedMetric(type="cpu", weight_ppm=WHOLE_PPM),)


class Reliability(_Part, frozen=True):
    """What is done about failures. Restarts wait restart_backoff_initial_ms, doubled each time (`exponential`) or always
    the same (`constant`), at most restart_backoff_max_ms; after rollback_threshold failures in a row comes the way back.
    verification_wait_ms: how long after an action its effect is measured.
    """

    max_restart_count: int = 3
    restart_backoff: Literal["exponential", "constant"] = "exponential"
    restart_backoff_initial_ms: int = 10_000
    restart_backoff_max_ms: int = 300_000
    rollback_on_failure: bool = True
    rollback_threshold: int = 2
    health_check_timeout_ms: int = 30_000
    verification_wait_ms: int = 60_000
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None


class Governance(_Part, frozen=True):
    """Who may do what. A name in none of the three tiers is forbidden (operation_names.py)."""

    allowed_operations: tuple[str, ...] = ()
    requires_approval: tuple[str, ...] = ()
    forbidden_operations: tuple[str, ...] = ()
    approvers: tuple[str, ...] = ()
    approval_timeout_ms: int = 3_600_000
    auto_reject_on_timeout: bool = True
    notification_channels: tuple[str, ...] = ()
    log_all_decisions: bool = True
    log_all_operations: bool = True
    retention_ms: int = 7_776_000_000
    log_destination: str = "logs/agent-decisions/"


class Safety(_Part, frozen=True):
    """When to stop: a breaker opens after this many failures in a row and only a human closes it; no more actions than
    this in any hour.
    """

    max_consecutive_failures: int = 3
    max_actions_per_hour: int = 30


class MetricQuery(_Part, frozen=True):
    """One PromQL query for one metric. Answers are in base units (seconds, requests per second, a share of one, items)."""

    metric: MetricName
    query: str


class Metrics(_Part, frozen=True):
    """Where measurements come from. url: of Prometheus. trace: a CSV file beside the blueprint."""

    source: Literal["metrics_server", "prometheus", "trace"] = "metrics_server"
    url: str = ""
    queries: tuple[MetricQuery, ...] = ()
    trace: str = ""


class HelmValue(_Part, frozen=True):
    """Where a chart keeps one field: `replicas` at `frontend.replicaCount`."""

    field: str
    path: str


class Helm(_Part, frozen=True):
    """The release that owns the object: changes go through it."""

    release: str
    chart: str
    chart_version: str = ""
    values: tuple[HelmValue, ...] = ()


class Cost(_Part, frozen=True):
    """Simulated: nobody is billed by it."""

    monthly_budget_micro_usd: int | None = None
    cost_per_replica_micro_usd: int | None = None
    optimization_priority: Literal["cost", "performance", "balanced"] = "balanced"


class Blueprint(_Part, frozen=True):
    """The only authority on how one service may be run.

    version: `1.2.3` (semver.org 2.0.0, without build metadata). created: `2026-02-10` or empty.
    """

    name: str
    version: str
    target: TargetObject
    resources: Resources
    scaling: Scaling
    performance: Performance = Performance()
    reliability: Reliability = Reliability()
    deployment: RolloutSettings | None = None
    governance: Governance = Governance()
    safety: Safety = Safety()
    metrics: Metrics = Metrics()
    helm: Helm | None = None
    cost: Cost = Cost()
    description: str = ""
    owner: str = ""
    created: str = ""

    @property
    def namespace(self) -> str:
        """The namespace of the target."""
        return self.target.namespace

    @property
    def unread_target(self) -> Target:
        """The target as an operation names it, before it was ever read."""
        return Target(namespace=self.target.namespace, kind=self.target.kind, name=self.target.name)

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of the canonical form: two files that say the same have the same."""
        return hashlib.sha256(canonical(self)).hexdigest()
