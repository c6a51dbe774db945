"""Our spans as OpenTelemetry's, and its OTLP exporter (http/protobuf). The one place where opentelemetry is imported, and
only once there is something to send.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import get_args

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from interlock.bus.telemetry.spans import Kind, Span

SCOPE = "interlock"
FOREIGN = "interlock.baggage."
UNSET = Status(StatusCode.UNSET)


class OtlpExporter:
    """resource: attributes of this process (service.name, service.instance.id, …); OTEL_RESOURCE_ATTRIBUTES and
    OTEL_SERVICE_NAME stand above them. scrub: what texts go through before they leave. max_value: longest value.
    """

    def __init__(self, resource: Mapping[str, str], scrub: Callable[[str], str], max_value: int) -> None:
        # It tells of every try that fails; that they fail is told once, in exporting.py.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._exporter = OTLPSpanExporter()
        self._readable = Readable(scrub, max_value)
        ours = {"service.name": "interlock", **resource}
        self._resource = Resource(ours).merge(OTELResourceDetector().detect())

    def export(self, spans: Sequence[Span]) -> bool:
        made = [self._readable.of(one, self._resource) for span in spans for one in span.leaving()]
        return self._exporter.export(made) is SpanExportResult.SUCCESS

    def close(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


class Readable:
    """Makes OpenTelemetry's spans of ours. Only what others wrote is scrubbed: the problem and the baggage; the rest are
    ids, names and numbers of our own.
    """

    def __init__(self, scrub: Callable[[str], str], max_value: int) -> None:
        self._scrub = scrub
        self._max_value = max_value
        self._scope = InstrumentationScope(SCOPE)
        self._sampled = TraceFlags(TraceFlags.SAMPLED)
        self._kinds = {kind: SpanKind[kind.upper()] for kind in get_args(Kind)}

    def of(self, span: Span, resource: Resource) -> ReadableSpan:
        attributes = dict(span.attributes)
        for name, value in attributes.items():
            if isinstance(value, str) and (name.startswith(FOREIGN) or len(value) > self._max_value):
                attributes[name] = self._text(value)
        return ReadableSpan(
            name=span.name,
            context=self._context(span.trace_id, span.span_id),
            parent=self._context(span.trace_id, span.parent_id) if span.parent_id else None,
            resource=resource,
            attributes=attributes,
            links=[Link(self._context(trace_id, span_id)) for trace_id, span_id in span.links],
            kind=self._kinds[span.kind],
            status=Status(StatusCode.ERROR, self._text(span.problem)) if span.problem else UNSET,
            start_time=span.start_ns,
            end_time=span.end_ns,
            instrumentation_scope=self._scope,
        )

    def _text(self, text: str) -> str:
        return self._scrub(text)[: self._max_value]

    def _context(self, trace_id: str, span_id: str) -> SpanContext:
        return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=self._sampled)
