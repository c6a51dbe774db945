"""A decision: what is to be done to one service now, and everything it rests on. All numbers are integers."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from interlock.skills.infrastructure.decision.history import Load
from interlock.skills.infrastructure.decision.reasons import Reason
from interlock.skills.infrastructure.operations import Operation
from interlock.skills.infrastructure.target import Target

Kind = Literal["scale_up", "scale_down", "hold", "restart", "roll_back", "optimise", "reconcile", "escalate"]


class BlueprintRef(Struct, frozen=True, kw_only=True):
    """Which blueprint said so."""

    name: str
    version: str
    digest: str


class Contribution(Struct, frozen=True, kw_only=True):
    """One metric's part in the weighted score. low_ppm, high_ppm: its pressure (1_000_000 = all of the request, or exactly
    the target) as it counts for more and for fewer replicas; None: missing. part_ppm: weight times low.
    """

    metric: str
    weight_ppm: int
    low_ppm: int | None
    high_ppm: int | None
    part_ppm: int


class Noted(Struct, frozen=True, kw_only=True):
    """What the next decisions must remember of this one. recommended: replicas before steps, cooldown and stabilisation.
    cpu_peak_m, memory_peak_bytes: the busiest pod's use. failing: pods that cannot run.
    """

    replicas: int
    recommended: int
    by_load: bool = False
    loads: tuple[Load, ...] = ()
    cpu_peak_m: int | None = None
    memory_peak_bytes: int | None = None
    failing: int = 0


class Decision(Struct, frozen=True, kw_only=True):
    """id: derived from blueprint, state, history and time, so that the same question has the same answer under the same id.

    kind `escalate`: something is wrong that no operation of the blueprint's can mend, a human is asked. operation: None for
    hold and escalate. now, then: named figures with their units (`replicas`, `latency_p95_us`, `cpu_utilization_ppm`).
    """

    id: str
    at_ms: int
    blueprint: BlueprintRef
    target: Target
    kind: Kind
    operation: Operation | None
    reasons: tuple[Reason, ...]
    contributions: tuple[Contribution, ...]
    score_ppm: int
    confidence_percent: int
    now: dict[str, int]
    then: dict[str, int]
    noted: Noted

    @property
    def rationale(self) -> str:
        """The reasons in one line, each with its place in the blueprint."""
        return " ".join(f"{reason.text[:1].upper()}{reason.text[1:]} ({reason.reference})." for reason in self.reasons)

    @property
    def references(self) -> tuple[str, ...]:
        """The places in the blueprint, each once."""
        return tuple(dict.fromkeys(reason.reference for reason in self.reasons))
