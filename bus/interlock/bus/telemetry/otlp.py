"""Our spans as OpenTelemetry's, and its OTLP exporter (http/protobuf). The one place where opentelemetry is imported, and
only once there is something to send.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from interlock.bus.telemetry.spans import Kind, Span, Value

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext, SpanKind

SCOPE = "interlock"
FOREIGN = "interlock.baggage."


class TelemetryNotInstalled(Exception):
    """The extra `telemetry` is not there."""


class OtlpExporter:
    """resource: attributes of this process (service.name, service.instance.id, …); OTEL_RESOURCE_ATTRIBUTES and
    OTEL_SERVICE_NAME stand above them. scrub: what texts go through before they leave. max_value: longest value.
    """

    def __init__(self, resource: Mapping[str, str], scrub: Callable[[str], str], max_value: int) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ImportError as error:
            raise TelemetryNotInstalled("pip install 'interlock[telemetry]'") from error
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource

        # It tells of every try that fails; that they fail is told once, in exporting.py.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._exporter = OTLPSpanExporter()
        ours = {"service.name": "interlock", **resource}
        self._resource = Resource(ours).merge(OTELResourceDetector().detect())
        self._scrub = scrub
        self._max_value = max_value

    def export(self, spans: Sequence[Span]) -> bool:
        from opentelemetry.sdk.trace.export import SpanExportResult

        leaving = (one for span in spans for one in span.leaving())
        made = [readable(span, self._resource, self._scrub, self._max_value) for span in leaving]
        return self._exporter.export(made) is SpanExportResult.SUCCESS

    def close(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


def readable(span: Span, resource: Resource, scrub: Callable[[str], str], max_value: int) -> ReadableSpan:
    """The span as OpenTelemetry's SDK has it. Only what others wrote is scrubbed: the problem and the baggage; the rest are
    ids, names and numbers of ours.
    """
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Link, Status, StatusCode

    attributes: dict[str, Value] = {}
    for name, value in span.attributes.items():
        if isinstance(value, str):
            value = (scrub(value) if name.startswith(FOREIGN) else value)[:max_value]
        attributes[name] = value
    return ReadableSpan(
        name=span.name,
        context=_context(span.trace_id, span.span_id),
        parent=_context(span.trace_id, span.parent_id) if span.parent_id else None,
        resource=resource,
        attributes=attributes,
        links=[Link(_context(trace_id, span_id)) for trace_id, span_id in span.links],
        kind=_kind(span.kind),
        status=Status(StatusCode.ERROR, scrub(span.problem)[:max_value]) if span.problem else Status(StatusCode.UNSET),
        start_time=span.start_ns,
        end_time=span.end_ns,
        instrumentation_scope=InstrumentationScope(SCOPE),
    )


def _context(trace_id: str, span_id: str) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(1))


def _kind(kind: Kind) -> SpanKind:
    from opentelemetry.trace import SpanKind

    return SpanKind[kind.upper()]
