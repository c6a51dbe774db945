"""What an operation is aimed at: one object of the cluster and what its container asks for."""

from __future__ import annotations

from msgspec import Struct


class Target(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One object. uid and resource_version are those it was seen with; empty where it was never read (a drawn trace)."""

    namespace: str
    kind: str
    name: str
    uid: str = ""
    resource_version: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class ContainerResources(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests and limits of one container. None: not set on the object, which is not the same as 0."""

    cpu_request_m: int | None = None
    cpu_limit_m: int | None = None
    memory_request_bytes: int | None = None
    memory_limit_bytes: int | None = None


class RolloutSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a Deployment replaces its pods. max_surge and max_unavailable: a count (`1`) or a share (`25%`), as Kubernetes
    writes them; None: not set.
    """

    strategy: str
    max_surge: str | None = None
    max_unavailable: str | None = None
    min_ready_seconds: int = 0
    revision_history_limit: int = 10


class Probe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The times of a readiness or liveness probe. What it asks (HTTP, TCP, exec) is the chart's business."""

    initial_delay_s: int
    period_s: int
    timeout_s: int
    failure_threshold: int
