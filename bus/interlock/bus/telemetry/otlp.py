"""Our spans in OTLP's bytes, and OpenTelemetry's exporter for them (http/protobuf). The one place where opentelemetry is
imported, and only once there is something to send.

The exporter is used as it is but for one thing: it would make messages of the SDK's spans, which costs 35 us a span of the
CPU that hops are handled with. Ours are written as the bytes they are to be, in a sixth of that;
tests/bus/telemetry/test_otlp.py holds that they say the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from struct import Struct
from typing import get_args

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import SpanFlags, Status
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace.export import SpanExportResult

from interlock.bus.telemetry.protobuf import delimited, double, fixed32, integer
from interlock.bus.telemetry.spans import Kind, Span, Value

SCOPE = delimited(1, delimited(1, b"interlock"))
FOREIGN = "interlock.baggage."
KINDS = {kind: SpanMessage.SpanKind.Value(f"SPAN_KIND_{kind.upper()}") for kind in get_args(Kind)}
LOCAL = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK  # it is said, and it is not
FAILED = integer(3, Status.STATUS_CODE_ERROR)
FLAGS, LINK_FLAGS = fixed32(16, LOCAL), fixed32(6, LOCAL)
FLAGS_AND_NO_STATUS = delimited(15, b"") + FLAGS
_TIMES = Struct("<BQBQ").pack  # fields 7 and 8, fixed64


class Batch(list[Span]):
    """Spans, and the request that takes them to the collector: what the exporter asks its encoder for."""

    def __init__(self, spans: Sequence[Span], request: bytes) -> None:
        super().__init__(spans)
        self._request = request

    def SerializePartialToString(self) -> bytes:
        return self._request

    SerializeToString = SerializePartialToString


def _encoded(spans: Sequence[object]) -> object:
    return spans if isinstance(spans, Batch) else encode_spans(spans)  # type: ignore[arg-type]  # the SDK's


trace_exporter.encode_spans = _encoded  # type: ignore[assignment,attr-defined]


class OtlpExporter:
    """resource: attributes of this process (service.name, service.instance.id, …); OTEL_RESOURCE_ATTRIBUTES and
    OTEL_SERVICE_NAME stand above them. scrub: what texts go through before they leave. max_value: longest value.
    """

    def __init__(self, resource: Mapping[str, str], scrub: Callable[[str], str], max_value: int) -> None:
        # It tells of every try that fails; that they fail is told once, in exporting.py.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._exporter = trace_exporter.OTLPSpanExporter()
        ours = {"service.name": "interlock", **resource}
        self._requests = Requests(Resource(ours).merge(OTELResourceDetector().detect()), scrub, max_value)

    def export(self, spans: Sequence[Span]) -> bool:
        leaving = [one for span in spans for one in span.leaving()]
        batch = Batch(leaving, self._requests.of(leaving))
        return self._exporter.export(batch) is SpanExportResult.SUCCESS  # type: ignore[arg-type]

    def close(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


class Requests:
    """Makes OTLP's requests of spans (opentelemetry/proto/trace/v1/trace.proto). Only what others wrote is scrubbed: the
    problem and the baggage; the rest are ids, names and numbers of our own.
    """

    def __init__(self, resource: Resource, scrub: Callable[[str], str], max_value: int) -> None:
        self._scrub = scrub
        self._max_value = max_value
        told = [
            _key_value(1, name, value if isinstance(value, Value) else str(value))
            for name, value in resource.attributes.items()
        ]
        self._resource = delimited(1, b"".join(told))
        self._schema_url = delimited(3, resource.schema_url.encode())

    def of(self, spans: Sequence[Span]) -> bytes:
        """An ExportTraceServiceRequest."""
        scope_spans = SCOPE + b"".join([delimited(2, self._span(span)) for span in spans])
        return delimited(1, self._resource + delimited(2, scope_spans) + self._schema_url)

    def _span(self, span: Span) -> bytes:
        parts = [_ids(span.trace_id, span.span_id)]
        if span.parent_id:
            parts.append(b"\x22\x08" + bytes.fromhex(span.parent_id))
        parts += _kind_and_name(span.kind, span.name), _TIMES(0x39, span.start_ns, 0x41, span.end_ns)
        if span.shared:
            parts.append(_attributes(span.shared))
        for name, value in span.attributes.items():
            if isinstance(value, str) and (len(value) > self._max_value or name.startswith(FOREIGN)):
                value = self._text(value)
            parts.append(_key_value(9, name, value))
        if span.links:
            parts += [delimited(13, _ids(*linked) + LINK_FLAGS) for linked in span.links]
        if span.problem:
            parts.append(delimited(15, delimited(2, _octets(self._text(span.problem))) + FAILED))
        parts.append(FLAGS if span.problem else FLAGS_AND_NO_STATUS)
        return b"".join(parts)

    def _text(self, text: str) -> str:
        return self._scrub(text)[: self._max_value]


def _ids(trace_id: str, span_id: str) -> bytes:
    return b"\x0a\x10%b\x12\x08%b" % (bytes.fromhex(trace_id), bytes.fromhex(span_id))


def _octets(text: str) -> bytes:
    """UTF-8, whatever somebody else's text may hold: one that has none does not cost the others of its batch."""
    return text.encode(errors="replace")


@lru_cache(maxsize=256)
def _kind_and_name(kind: Kind, name: str) -> bytes:
    return delimited(5, _octets(name)) + integer(6, KINDS[kind])


@lru_cache(maxsize=64)
def _attributes(shared: tuple[tuple[str, Value], ...]) -> bytes:
    return b"".join([_key_value(9, name, value) for name, value in shared])


@lru_cache(maxsize=256)
def _key(name: str) -> bytes:
    return delimited(1, _octets(name))


def _key_value(field: int, name: str, value: Value) -> bytes:
    """A KeyValue as that field of a message."""
    key = _key(name)
    if isinstance(value, str):
        octets = _octets(value)
        size, told = len(octets), len(key) + len(octets) + 4
        if told < 128:  # as delimited would have it, in one step
            return b"%c%c%b\x12%c\x0a%c%b" % (field << 3 | 2, told, key, size + 2, size, octets)
        return delimited(field, key + delimited(2, delimited(1, octets)))
    if isinstance(value, bool):
        return delimited(field, key + delimited(2, integer(2, value)))
    if isinstance(value, int):
        return delimited(field, key + delimited(2, integer(3, value)))
    return delimited(field, key + delimited(2, double(4, value)))
