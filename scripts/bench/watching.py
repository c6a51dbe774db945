"""The telemetry of one side of a hop, as a role's process has it (agents/telemetry/showing.py)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from interlock.agents.telemetry.keeping import Keeping
from interlock.bus.telemetry.environment import TraceSettings
from interlock.bus.telemetry.exporting import Exporter
from interlock.bus.telemetry.hops import HopCounts, HopTelemetry
from interlock.bus.telemetry.metrics import HopMetrics
from interlock.bus.telemetry.otlp import OtlpExporter
from interlock.bus.telemetry.redaction import redact
from interlock.bus.telemetry.sampling import SamplingSettings
from interlock.bus.telemetry.spans import Tracer

SHARE = 0.1


@contextmanager
def telemetry(endpoint: str, agent: str) -> Iterator[tuple[Tracer | None, HopTelemetry | None]]:
    """(for the sender, for the actor); neither without an endpoint."""
    if not endpoint:
        yield None, None
        return
    from prometheus_client import CollectorRegistry

    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
    settings = TraceSettings(ratio=SHARE)
    sending = OtlpExporter({}, redact, settings.max_value)  # what it imports is paid once a process, not by a hop
    exporter = Exporter(settings, lambda: sending)
    exporter.start()
    keeping = Keeping(SamplingSettings(ratio=SHARE), exporter.put, "default")
    tracer = Tracer(keeping.sampler.ended, keeping.keep, keeping.sampler.is_sampled)
    metrics = HopMetrics(CollectorRegistry())
    watch = HopTelemetry(agent, f"{agent}-default", counts=HopCounts(), tracer=tracer, metrics=metrics, slow_ms=0)
    try:
        yield tracer, watch
    finally:
        exporter.close()
