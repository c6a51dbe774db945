"""A small OTLP receiver: takes real protobuf over HTTP and keeps the spans."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")


class Received(Struct, frozen=True):
    """A span as it came over the wire."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    resource: dict[str, Any]
    links: list[tuple[str, str]]
    error: str
    start_ns: int
    end_ns: int


class Receiver:
    """`status`: what every batch is answered."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        self.requests: list[dict[str, str]] = []
        self.status = 200
        self.url = ""

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        self.requests.append({"path": path, **headers})
        if self.status == 200:
            data = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
            self.spans += decoded(data)
        return self.status

    def until(self, holds: Callable[[list[Received]], bool], within_s: float = 20) -> list[Received]:
        deadline = time.monotonic() + within_s
        while not holds(self.spans):
            assert time.monotonic() < deadline, f"not received: {sorted({span.name for span in self.spans})}"
            time.sleep(0.01)
        return list(self.spans)


def decoded(data: bytes) -> list[Received]:
    request = ExportTraceServiceRequest.FromString(data)
    found = []
    for resource_spans in request.resource_spans:
        resource = values(resource_spans.resource.attributes)
        for scope in resource_spans.scope_spans:
            assert scope.scope.name == "interlock"
            for span in scope.spans:
                found.append(
                    Received(
                        name=span.name,
                        kind=KINDS[span.kind],
                        trace_id=span.trace_id.hex(),
                        span_id=span.span_id.hex(),
                        parent_id=span.parent_span_id.hex(),
                        attributes=values(span.attributes),
                        resource=resource,
                        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
                        error=span.status.message if span.status.code == 2 else "",
                        start_ns=span.start_time_unix_nano,
                        end_ns=span.end_time_unix_nano,
                    )
                )
    return found


def values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.send_response(receiver.take(self.path, headers, body))
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
