"""What a decision must know of the past, as one value. It is the fold of the decisions and outcomes of one service, so it
can be built again from the decision log; its size has a bound whatever happens.
"""

from __future__ import annotations

from msgspec import Struct

from interlock.skills.infrastructure.decision.safety import Breaker
from interlock.skills.infrastructure.decision.window import Peaks
from interlock.skills.infrastructure.target import ContainerResources


class Load(Struct, frozen=True, array_like=True):
    """Load that does not depend on the replicas: `cpu` in millionths of one pod's request, `throughput` in mrps."""

    metric: str
    amount: int


class Raised(Struct, frozen=True, kw_only=True):
    """So many replicas were once too few for these loads. by_load: utilisation said so, not a violated target."""

    replicas: int
    at_ms: int
    by_load: bool
    loads: tuple[Load, ...]


class Sickness(Struct, frozen=True, kw_only=True):
    """Pods that cannot run, since when, and what was tried. seen_ms: when they were last seen failing."""

    since_ms: int
    seen_ms: int
    restarts: int = 0
    restarted_ms: int | None = None


class History(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The past of one service.

    since_ms: from when on it was watched without a gap under the blueprint of that digest; seen_ms: the last look.
    recommendations: numbers of replicas that were recommended; cpu_peaks (millicores) and memory_peaks (bytes): what the
    busiest pod used. scaled_ms: the last change of replicas; adjusted_ms: of settings; asked_ms: when a human was last asked
    about settings, until one of them changes. settled: resources that were set on purpose under this digest.
    undone: revisions that were rolled back, never to be returned to.
    """

    digest: str = ""
    since_ms: int | None = None
    seen_ms: int | None = None
    scaled_ms: int | None = None
    recommendations: Peaks = ()
    cpu_peaks: Peaks = ()
    memory_peaks: Peaks = ()
    raised: tuple[Raised, ...] = ()
    sickness: Sickness | None = None
    adjusted_ms: int | None = None
    asked_ms: int | None = None
    settled: ContainerResources | None = None
    undone: tuple[int, ...] = ()
    breaker: Breaker = Breaker()
