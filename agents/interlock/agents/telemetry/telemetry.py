"""What a role's parts are given to show themselves by. OFF shows nothing and costs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.bus.telemetry.counting import HopCounts
from interlock.bus.telemetry.hops import HopTelemetry
from interlock.bus.telemetry.spans import Tracing
from interlock.bus.telemetry.watching import HopWatch

if TYPE_CHECKING:
    from interlock.agents.telemetry.metrics import RoleMetrics


class Telemetry:
    """tracer, metrics: None where nobody wants them. counts: of all hops of the process, a gateway's intakes among them.
    slow_ms: how old a goal is when its trace is kept whole.
    """

    def __init__(
        self,
        *,
        tracer: Tracing | None = None,
        metrics: RoleMetrics | None = None,
        counts: HopCounts | None = None,
        slow_ms: int = 0,
    ) -> None:
        self.tracer = tracer
        self.metrics = metrics
        self.counts = counts
        self.slow_ms = slow_ms

    def watch(self, agent: str, consumer: str) -> HopWatch | None:
        """Who watches the hops of an actor, if anybody does."""
        if self.counts is None:
            return None
        hops = None if self.metrics is None else self.metrics.hops
        return HopTelemetry(agent, consumer, counts=self.counts, tracer=self.tracer, metrics=hops, slow_ms=self.slow_ms)

    def keep(self, trace_id: str, why: str) -> None:
        """The trace is to be exported whole."""
        if self.tracer is not None:
            self.tracer.keep(trace_id, why)


OFF = Telemetry()
