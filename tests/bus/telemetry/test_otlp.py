"""What leaves says the same as what OpenTelemetry's own encoder would say of the same spans."""

from __future__ import annotations

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from interlock.bus.telemetry.otlp import OtlpExporter, Requests
from interlock.bus.telemetry.spans import Kind, Span, Tracer, Value

TRACER = Tracer(lambda _: None, lambda *_: None, lambda _: True)
RESOURCE = Resource({"service.name": "interlock", "replica": 2}, "https://example.org/schema")
kinds: list[Kind] = ["internal", "server", "client", "producer", "consumer"]
texts = st.text(st.characters(codec="utf-8"), max_size=20)
long_texts = st.integers(100, 300).map("é".__mul__) | st.integers(100, 300).map("x".__mul__)
values = texts | long_texts | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)


class Sharing(Span):
    """One that has attributes in common with others."""


def hexes(digits: int) -> st.SearchStrategy[str]:
    return st.integers(1, 16**digits - 1).map(lambda number: f"{number:0{digits}x}")


@st.composite
def spans(draw: st.DrawFn) -> Span:
    parent = draw(st.just("") | hexes(16))
    attributes = draw(st.dictionaries(texts, values, max_size=5))
    made = Sharing(
        TRACER, draw(texts), draw(st.sampled_from(kinds)), draw(hexes(32)), draw(hexes(16)), parent, 7, attributes
    )
    made.end_ns = draw(st.integers(7, 2**62))
    made.problem = draw(texts)
    made.shared = tuple(
        (f"shared.{name}", value) for name, value in draw(st.dictionaries(texts, values, max_size=2)).items()
    )
    made.links = tuple(draw(st.lists(st.tuples(hexes(32), hexes(16)), max_size=2)))
    return made


def context(trace_id: str, span_id: str) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(1))


def readable(span: Span) -> ReadableSpan:
    return ReadableSpan(
        name=span.name,
        context=context(span.trace_id, span.span_id),
        parent=context(span.trace_id, span.parent_id) if span.parent_id else None,
        resource=RESOURCE,
        attributes=dict(span.shared) | span.attributes,
        links=[Link(context(*link)) for link in span.links],
        kind=SpanKind[span.kind.upper()],
        status=Status(StatusCode.ERROR, span.problem) if span.problem else Status(StatusCode.UNSET),
        start_time=span.start_ns,
        end_time=span.end_ns,
        instrumentation_scope=InstrumentationScope("interlock"),
    )


def told_of(span: Span, scrub: Callable[[str], str], max_value: int) -> SpanMessage:
    request = ExportTraceServiceRequest.FromString(Requests(RESOURCE, scrub, max_value).of([span]))
    told: SpanMessage = request.resource_spans[0].scope_spans[0].spans[0]
    return told


@given(st.lists(spans(), min_size=1, max_size=3))
def test_ours_are_the_messages_of_opentelemetry(given_spans: list[Span]) -> None:
    ours = ExportTraceServiceRequest.FromString(Requests(RESOURCE, lambda text: text, 1_000).of(given_spans))
    assert ours == encode_spans([readable(span) for span in given_spans])


def test_what_others_wrote_is_scrubbed_and_what_is_long_is_cut() -> None:
    told: dict[str, Value] = {"interlock.baggage.team": "secret", "ours": "secret", "long": "x" * 11, "number": 10**12}
    span = Span(TRACER, "a", "internal", "1" * 32, "2" * 16, "", 1, told)
    span.fail("secret")
    message = told_of(span, lambda text: text.replace("secret", "*"), 10)
    found = {pair.key: pair.value.string_value or pair.value.int_value for pair in message.attributes}
    assert found == {"interlock.baggage.team": "*", "ours": "secret", "long": "x" * 10, "number": 10**12}
    assert message.status.message == "*"


def test_a_text_that_is_no_utf8_costs_only_itself() -> None:
    span = Span(TRACER, "a", "internal", "1" * 32, "2" * 16, "", 1, {"odd": "a\ud800b"})
    span.fail("\udfff")
    message = told_of(span, str, 10)
    assert message.attributes[0].value.string_value == "a?b"
    assert message.status.message == "?"


def test_they_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return None

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=blue")
        exporter = OtlpExporter({"service.name": "x"}, str, 100)
        assert exporter.export([Span(TRACER, "a", "client", "1" * 32, "2" * 16, "", 1, {"n": 1})])
        exporter.close()
        server.shutdown()
    (told,) = ExportTraceServiceRequest.FromString(bodies[0]).resource_spans
    assert {pair.key: pair.value.string_value for pair in told.resource.attributes} == {
        "service.name": "x",
        "team": "blue",
    }
    assert [span.name for span in told.scope_spans[0].spans] == ["a"]
