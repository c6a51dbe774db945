"""What telemetry costs a governed hop: its CPU with telemetry on, as a share of the same hop without, in the same run; and
what is left of it when it is off.

On: metrics of every hop, spans of every hop, of which a tenth is exported by OTLP to a receiver on this machine while the
rest waits for its goal to matter. CPU is that of the sending and the receiving process, exporter threads included.
"""

from __future__ import annotations

import statistics
import threading
import timeit
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import hops

from interlock.bus.telemetry.spans import active, span

PAIRS = 5


@contextmanager
def collector() -> Iterator[str]:
    """Takes whatever comes and answers 200."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def off_us() -> float:
    """What one hop still does when nobody watches: the questions whether anybody does, at every place where there is one."""
    watch: Any = None
    tracer: Any = None

    def both_sides() -> None:
        if tracer is None and watch is None:  # sender and actor
            active()  # after the gates
            for name in ("policy", "reserve", "settle"):
                with span(name) as shown:
                    shown.set("a", 1)

    count = 100_000
    return min(timeit.repeat(both_sides, number=count, repeat=5)) / count * 1e6


def hop_us(count: int, endpoint: str) -> float:
    found = hops.pair(hops.receive_governed, hops.send_governed, count, watched=endpoint)
    return (found["in"]["cpu"] + found["out"]["cpu"]) / count * 1e6


def measure(count: int) -> dict[str, float]:
    """Without and with by turns, so that a machine that changes its pace changes it for both."""
    without, shares = [], []
    with collector() as url:
        for turn in range(PAIRS):
            first, second = ("", url) if turn % 2 == 0 else (url, "")
            took = {first: hop_us(count, first), second: hop_us(count, second)}
            without.append(took[""])
            shares.append((took[url] / took[""] - 1) * 100)
    hop = statistics.median(without)
    return {
        "telemetry_off_percent": off_us() / hop * 100,
        "telemetry_on_percent": statistics.median(shares),
        "telemetry_hop_us": hop,
    }
