"""Our spans in OTLP's messages, and OpenTelemetry's exporter for them (http/protobuf). The one place where opentelemetry is
imported, and only once there is something to send.

The exporter is used as it is but for one thing: it would make messages of the SDK's spans, which costs 35 us a span of the
CPU that hops are handled with; ours are made from what we have, in a third of that. tests/bus/telemetry/test_otlp.py holds
that they say the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import get_args

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource as ResourceMessage
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, SpanFlags, Status
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace.export import SpanExportResult

from interlock.bus.telemetry.spans import Kind, Span, Value

SCOPE = InstrumentationScope(name="interlock")
FOREIGN = "interlock.baggage."
NO_STATUS = Status()
KINDS = {kind: SpanMessage.SpanKind.Value(f"SPAN_KIND_{kind.upper()}") for kind in get_args(Kind)}
LOCAL = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK  # it is said, and it is not


class Batch(list[Span]):
    """Spans that are a message already."""

    def __init__(self, spans: Sequence[Span], message: ExportTraceServiceRequest) -> None:
        super().__init__(spans)
        self.message = message


def _message(spans: Sequence[object]) -> ExportTraceServiceRequest:
    return spans.message if isinstance(spans, Batch) else encode_spans(spans)  # type: ignore[arg-type]  # the SDK's


trace_exporter.encode_spans = _message  # type: ignore[assignment,attr-defined]


class OtlpExporter:
    """resource: attributes of this process (service.name, service.instance.id, …); OTEL_RESOURCE_ATTRIBUTES and
    OTEL_SERVICE_NAME stand above them. scrub: what texts go through before they leave. max_value: longest value.
    """

    def __init__(self, resource: Mapping[str, str], scrub: Callable[[str], str], max_value: int) -> None:
        # It tells of every try that fails; that they fail is told once, in exporting.py.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._exporter = trace_exporter.OTLPSpanExporter()
        ours = {"service.name": "interlock", **resource}
        self._messages = Messages(Resource(ours).merge(OTELResourceDetector().detect()), scrub, max_value)

    def export(self, spans: Sequence[Span]) -> bool:
        leaving = [one for span in spans for one in span.leaving()]
        batch = Batch(leaving, self._messages.of(leaving))
        return self._exporter.export(batch) is SpanExportResult.SUCCESS  # type: ignore[arg-type]

    def close(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


class Messages:
    """Makes OTLP's messages of spans. Only what others wrote is scrubbed: the problem and the baggage; the rest are ids,
    names and numbers of our own.
    """

    def __init__(self, resource: Resource, scrub: Callable[[str], str], max_value: int) -> None:
        self._scrub = scrub
        self._max_value = max_value
        texts = {name: value if isinstance(value, Value) else str(value) for name, value in resource.attributes.items()}
        self._resource = ResourceMessage(attributes=[_pair(*one) for one in texts.items()])
        self._schema_url = resource.schema_url

    def of(self, spans: Sequence[Span]) -> ExportTraceServiceRequest:
        scope = ScopeSpans(scope=SCOPE, spans=[self._span(span) for span in spans])
        return ExportTraceServiceRequest(
            resource_spans=[ResourceSpans(resource=self._resource, scope_spans=[scope], schema_url=self._schema_url)]
        )

    def _span(self, span: Span) -> SpanMessage:
        trace_id = bytes.fromhex(span.trace_id)
        message = SpanMessage(
            trace_id=trace_id,
            span_id=bytes.fromhex(span.span_id),
            parent_span_id=bytes.fromhex(span.parent_id),
            name=span.name,
            kind=KINDS[span.kind],
            start_time_unix_nano=span.start_ns,
            end_time_unix_nano=span.end_ns,
            attributes=self._attributes(span),
            status=NO_STATUS,
            flags=LOCAL,
        )
        for linked_trace, linked_span in span.links:
            message.links.add(trace_id=bytes.fromhex(linked_trace), span_id=bytes.fromhex(linked_span), flags=LOCAL)
        if span.problem:
            message.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message=self._text(span.problem)))
        return message

    def _attributes(self, span: Span) -> Iterator[KeyValue]:
        for name, value in span.attributes.items():
            if isinstance(value, str) and (name.startswith(FOREIGN) or len(value) > self._max_value):
                yield _pair(name, self._text(value))
            else:
                yield _pair(name, value)

    def _text(self, text: str) -> str:
        return self._scrub(text)[: self._max_value]


@lru_cache(maxsize=1024, typed=True)  # most of them are the same in many spans
def _pair(name: str, value: Value) -> KeyValue:
    if isinstance(value, str):
        return KeyValue(key=name, value=AnyValue(string_value=value))
    if isinstance(value, bool):
        return KeyValue(key=name, value=AnyValue(bool_value=value))
    if isinstance(value, int):
        return KeyValue(key=name, value=AnyValue(int_value=value))
    return KeyValue(key=name, value=AnyValue(double_value=value))
