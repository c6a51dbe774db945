"""What a process shows of itself besides its role: memory, time, its exporter, its consumers at the broker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from interlock.agents.telemetry.metrics import RoleMetrics
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.streams import ConsumerSpec
from interlock.bus.telemetry.consumers import ConsumerMetrics
from interlock.bus.telemetry.exporting import Exporter
from interlock.bus.telemetry.logs import LogThread
from interlock.bus.telemetry.sampling import TailSampler


class ExporterMetrics(Collector):
    """Traces on their way out: none is lost unseen."""

    def __init__(self, exporter: Exporter, sampler: TailSampler) -> None:
        self._exporter = exporter
        self._sampler = sampler

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily("interlock_spans_exported", "Spans handed over.", value=self._exporter.exported)
        dropped = CounterMetricFamily("interlock_spans_dropped", "Spans lost, and why.", labels=["reason"])
        dropped.add_metric(["queue_full"], self._exporter.dropped_full)
        dropped.add_metric(["export_failed"], self._exporter.dropped_failed)
        yield dropped
        yield GaugeMetricFamily("interlock_spans_queued", "Spans to be exported.", value=self._exporter.queued)
        yield GaugeMetricFamily(
            "interlock_spans_waiting",
            "Spans that are exported if their goal comes to matter.",
            value=self._sampler.waiting,
        )


class LogMetrics(Collector):
    """Lines of the log, and those that could not be written."""

    def __init__(self, logs: LogThread) -> None:
        self._logs = logs

    def collect(self) -> Iterator[Metric]:
        lines = CounterMetricFamily("interlock_log_lines", "Lines of the log: written or lost.", labels=["outcome"])
        lines.add_metric(["written"], self._logs.written)
        lines.add_metric(["lost"], self._logs.lost)
        yield lines


def process_metrics(
    registry: CollectorRegistry, logs: LogThread, exporter: Exporter | None, sampler: TailSampler | None
) -> None:
    """exporter, sampler: where there are traces."""
    ProcessCollector(registry=registry)
    registry.register(LogMetrics(logs))
    if exporter is not None and sampler is not None:
        registry.register(ExporterMetrics(exporter, sampler))


class BrokerMetrics:
    """Asks the broker when somebody looks. connected is 0 while there is no connection."""

    def __init__(self, metrics: RoleMetrics, consumers: Sequence[ConsumerSpec]) -> None:
        self._up: Gauge = metrics.gauge("interlock_broker_connected", "1 while the broker is connected, else 0.")
        self._consumers = ConsumerMetrics(metrics.registry, consumers)
        self._transport: JetStreamTransport | None = None
        metrics.on_scrape("broker", self._refresh)

    def use(self, transport: JetStreamTransport | None) -> None:
        """The connection to ask by, None while there is none."""
        self._transport = transport

    async def _refresh(self) -> None:
        transport = self._transport
        is_connected = transport is not None and bool(transport.client.is_connected)
        self._up.set(int(is_connected))
        self._consumers.clear()
        if transport is not None and is_connected:
            await self._consumers.refresh(transport)
