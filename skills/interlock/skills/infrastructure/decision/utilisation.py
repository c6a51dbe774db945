"""How much of what a service's pods ask for they use, as two figures: one that may only be too low and one that may only
be too high. Pods without metrics and pods that are not ready are treated as the HorizontalPodAutoscaler treats them
(kubernetes.io, Horizontal Pod Autoscaling, Algorithm details).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from msgspec import Struct

from interlock.skills.infrastructure.observed import PodState

Resource = Literal["cpu", "memory"]

# kube-controller-manager: --horizontal-pod-autoscaler-cpu-initialization-period, --…-initial-readiness-delay.
CPU_INITIALISATION_MS = 300_000
INITIAL_READINESS_DELAY_MS = 30_000


class Utilisation(Struct, frozen=True, kw_only=True):
    """Shares of the request, 1 = all of it.

    measured: over the pods that count. low: pods without metrics and not-ready pods use nothing (what may justify more
    replicas). high: pods without metrics use all they asked for (what may justify fewer).
    counted, missing, not_ready: how many pods of each sort.
    """

    measured: Fraction
    low: Fraction
    high: Fraction
    counted: int
    missing: int
    not_ready: int


def utilisation(
    pods: tuple[PodState, ...],
    resource: Resource,
    request: int | None,
    *,
    replicas: int,
    now_ms: int,
    stale_after_ms: int,
    target: Fraction | None = None,
) -> Utilisation | None:
    """None where it is not defined: nothing is requested, or no pod that counts has fresh metrics.

    request: what one pod asks for, millicores or bytes. replicas: what the object asks for; pods that it has not made yet
    count as not ready. A pod without metrics is taken to use all of its request, or the target if that is higher.
    """
    if not request:
        return None
    used = counted = missing = not_ready = 0
    for pod in pods:
        if pod.deleting or pod.phase in ("Failed", "Succeeded"):
            continue
        usage = fresh_usage(pod, resource, now_ms, stale_after_ms)
        if pod.phase == "Pending":
            not_ready += 1
        elif usage is None:
            missing += 1
        elif resource == "cpu" and is_starting(pod, now_ms):
            not_ready += 1
        else:
            counted, used = counted + 1, used + usage
    not_ready += max(0, replicas - counted - missing - not_ready)
    if not counted:
        return None
    assumed = missing * request * max(Fraction(1), target or Fraction(0))
    return Utilisation(
        measured=Fraction(used, counted * request),
        low=Fraction(used, (counted + missing + not_ready) * request),
        high=(used + assumed) / ((counted + missing) * request),
        counted=counted,
        missing=missing,
        not_ready=not_ready,
    )


def fresh_usage(pod: PodState, resource: Resource, now_ms: int, stale_after_ms: int) -> int | None:
    """What the pod uses, None if nobody said or it is no longer true."""
    used = pod.cpu_m if resource == "cpu" else pod.memory_bytes
    fresh = pod.usage_at_ms is not None and is_fresh(pod.usage_at_ms, now_ms, stale_after_ms)
    return used if fresh else None


def is_fresh(at_ms: int, now_ms: int, stale_after_ms: int) -> bool:
    """Neither too old nor from a future that no clock difference explains."""
    return -stale_after_ms <= now_ms - at_ms <= stale_after_ms


def is_starting(pod: PodState, now_ms: int) -> bool:
    """CPU of a pod that starts says nothing about load: it is not ready yet, or its sample reaches back before it was."""
    if pod.ready is None or pod.started_ms is None or pod.ready_changed_ms is None:
        return True
    if now_ms < pod.started_ms + CPU_INITIALISATION_MS:
        sampled_ms = pod.usage_at_ms if pod.usage_at_ms is not None else now_ms
        return not pod.ready or sampled_ms < pod.ready_changed_ms + pod.usage_window_ms
    return not pod.ready and pod.ready_changed_ms < pod.started_ms + INITIAL_READINESS_DELAY_MS
