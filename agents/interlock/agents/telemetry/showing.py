"""The telemetry of one role's process: exporter thread, HTTP endpoint, discovery, and word of traces worth keeping.

Everything here may fail without a hop noticing. What nobody configured is not even imported.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from interlock.agents.telemetry.keeping import Keeping
from interlock.agents.telemetry.pages import announced_labels, serving_pages
from interlock.agents.telemetry.telemetry import Telemetry
from interlock.agents.version import VERSION
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.settings import TelemetrySettings
from interlock.bus.permissions import pulled_by
from interlock.bus.tasks import background
from interlock.bus.telemetry.counting import HopCounts
from interlock.bus.telemetry.environment import TraceSettings, trace_settings
from interlock.bus.telemetry.exporting import Exporter, Exporting
from interlock.bus.telemetry.logs import LogThread
from interlock.bus.telemetry.micro import Service, ServiceEndpoint, answering, endpoint_stats
from interlock.bus.telemetry.sampling import SamplingSettings
from interlock.bus.telemetry.spans import Tracer
from interlock.envelope.amounts import clock_ms, timestamp
from interlock.envelope.ids import new_id, role_of

if TYPE_CHECKING:
    from interlock.agents.telemetry.process_metrics import BrokerMetrics
    from interlock.bus.jetstream.transport import JetStreamTransport

log = logging.getLogger("interlock.telemetry")


class Shown:
    """What this process shows. telemetry: for the role's parts. is_bound, knows_trust: as long as they hold, and there is a
    connection, /ready says yes.
    """

    def __init__(self, agent: str, workspace: str, telemetry: Telemetry, counts: HopCounts) -> None:
        self.agent = agent
        self.workspace = workspace
        self.telemetry = telemetry
        self.counts = counts
        self.keeping: Keeping | None = None
        self.broker: BrokerMetrics | None = None
        self.metrics_url = ""
        self.is_bound = False
        self.knows_trust = False
        self._transport: JetStreamTransport | None = None

    @property
    def is_connected(self) -> bool:
        return self._transport is not None and bool(self._transport.client.is_connected)

    @asynccontextmanager
    async def connected(self, transport: JetStreamTransport) -> AsyncIterator[None]:
        """While there is this connection: others find the process, its consumers are asked for, and word of traces to be
        kept is exchanged.
        """
        self._use(transport)
        service = service_of(self)
        try:
            async with background() as group:
                if self.keeping is not None:
                    group.start_soon(self.keeping.exchange, transport)
                async with answering(transport, service, lambda endpoint: endpoint_stats(endpoint, self.counts)):
                    self.is_bound = True
                    yield
        finally:
            self.is_bound = False
            self._use(None)

    def _use(self, transport: JetStreamTransport | None) -> None:
        self._transport = transport
        if self.broker is not None:
            self.broker.use(transport)


@asynccontextmanager
async def showing(
    agent: str,
    workspace: str,
    layout: Layout,
    settings: TelemetrySettings,
    logs: LogThread,
    environment: Mapping[str, str] = os.environ,
) -> AsyncIterator[Shown]:
    """From before the first connection until after the last. logs: whose lines are counted. Raises UserError when the port is
    taken.
    """
    wanted, problems = trace_settings(environment)
    if wanted is not None and find_spec("opentelemetry") is None:
        wanted, problems = None, ["traces need `pip install 'interlock[telemetry]'`"]
    for problem in problems:
        log.warning("%s", problem)
    counts = HopCounts()
    telemetry = Telemetry(counts=counts, slow_ms=settings.slow_goal_ms)
    shown = Shown(agent, workspace, telemetry, counts)
    async with AsyncExitStack() as stack:
        exporter: Exporter | None = None
        if wanted is not None:
            exporter = Exporter(wanted, lambda: _otlp(agent, workspace, wanted))
            exporter.start()
            stack.callback(exporter.close)
            keeping = shown.keeping = Keeping(SamplingSettings(ratio=wanted.ratio), exporter.put, workspace)
            telemetry.tracer = Tracer(keeping.sampler.ended, keeping.keep, keeping.sampler.is_sampled)
        if settings.metrics_port != "off":
            from interlock.agents.telemetry.metrics import RoleMetrics
            from interlock.agents.telemetry.process_metrics import BrokerMetrics, process_metrics

            telemetry.metrics = RoleMetrics(agent, VERSION)
            sampler = None if shown.keeping is None else shown.keeping.sampler
            process_metrics(telemetry.metrics.registry, logs, exporter, sampler)
            shown.broker = BrokerMetrics(telemetry.metrics, pulled_by(role_of(agent), workspace))
            checks = {
                "connected": lambda: shown.is_connected,
                "bound": lambda: shown.is_bound,
                "trust": lambda: shown.knows_trust,
            }
            labels = announced_labels(agent, workspace)
            file = layout.metrics / f"{agent}.json"
            endpoint = await stack.enter_async_context(
                serving_pages(settings.metrics_host, settings.metrics_port, telemetry, checks, file, labels)
            )
            shown.metrics_url = f"{endpoint.url}/metrics"
        yield shown


def _otlp(agent: str, workspace: str, settings: TraceSettings) -> Exporting:
    """Runs in the exporter's thread: from here on OpenTelemetry is imported."""
    from interlock.bus.telemetry.otlp import OtlpExporter
    from interlock.bus.telemetry.redaction import redact

    resource = {
        "service.namespace": "interlock",
        "service.name": f"interlock-{role_of(agent)}",
        "service.version": VERSION,
        "service.instance.id": f"{agent}-{os.getpid()}",
        "interlock.workspace": workspace,
    }
    return OtlpExporter(resource, redact, settings.max_value)


def service_of(shown: Shown) -> Service:
    """The role as `nats micro` lists it: its endpoint is its inbox."""
    role, workspace = role_of(shown.agent), shown.workspace
    metadata = {"workspace": workspace, "role": role, "agent": shown.agent, "pid": str(os.getpid())}
    if shown.metrics_url:
        metadata["metrics"] = shown.metrics_url
    own = next(spec for spec in pulled_by(role, workspace) if spec.name == f"{role}-{workspace}")
    return Service(
        name=f"interlock-{role}",
        id=new_id(clock_ms()),
        version=VERSION,
        description=f"Interlock's {role} of workspace {workspace}",
        started=timestamp(clock_ms()),
        metadata=metadata,
        endpoints=(ServiceEndpoint(name="inbox", subject=own.subjects[0], queue_group=own.name),),
    )
