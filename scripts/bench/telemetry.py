"""What telemetry costs a governed hop, as a share of the same hop without it, in the same run.

Both sides work with it and without it by turns, some hundred hops each, so that a machine that changes its pace changes it
for both. On: metrics of every hop, spans of every hop, of which a tenth of the traces is exported by OTLP to a collector on
this machine while the others wait for their goal to matter. Counted is the CPU of both processes, that of the exporting
threads included. Off: what is left of it where nobody watches.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import threading
import time
import timeit
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from msgspec.structs import replace

from interlock.agents.telemetry.keeping import Keeping
from interlock.bus.hop import Hop, Outcome
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.sender import Identity, Sender
from interlock.bus.telemetry.counting import HopCounts
from interlock.bus.telemetry.environment import TraceSettings
from interlock.bus.telemetry.exporting import Exporter
from interlock.bus.telemetry.hops import HopTelemetry
from interlock.bus.telemetry.redaction import redact
from interlock.bus.telemetry.sampling import SamplingSettings
from interlock.bus.telemetry.spans import Tracer, active, span
from interlock.bus.telemetry.watching import Watched
from interlock.envelope.amounts import Amount, clock_ms
from interlock.envelope.ids import sha256_hex
from scripts.bench import hops, mandates

SHARE = 0.1
SLOW_MS = SamplingSettings().slow_ms
TURN = 256
WARM_TURNS = 4
ROUNDS = 3


@contextmanager
def telemetry(endpoint: str, agent: str) -> Iterator[tuple[Tracer, HopTelemetry]]:
    """As a role's process has it (agents/telemetry/showing.py), once it has started."""
    from prometheus_client import CollectorRegistry

    from interlock.bus.telemetry.metrics import HopMetrics
    from interlock.bus.telemetry.otlp import OtlpExporter

    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
    settings = TraceSettings(ratio=SHARE)
    exporter = Exporter(settings, lambda: OtlpExporter({}, redact, settings.max_value))
    exporter.start()
    while not exporter.is_open:
        time.sleep(0.01)
    keeping = Keeping(SamplingSettings(ratio=SHARE), exporter.put, "default")
    tracer = Tracer(keeping.sampler.ended, keeping.keep, keeping.sampler.is_sampled)
    metrics = HopMetrics(CollectorRegistry())
    try:
        yield (
            tracer,
            HopTelemetry(
                agent, f"{agent}-default", counts=HopCounts(), tracer=tracer, metrics=metrics, slow_ms=SLOW_MS
            ),
        )
    finally:
        exporter.close()


class Turns:
    """CPU of this thread by turns; that of all other threads, which only export, is the telemetry's."""

    def __init__(self) -> None:
        self._turn = 0
        self._spent: tuple[list[float], list[float]] = ([], [])
        self._thread_s = time.thread_time()
        self._began = (self._thread_s, time.process_time())

    @property
    def is_on(self) -> bool:
        return self._turn % 2 == 1

    def next(self) -> None:
        now = time.thread_time()
        if self._turn == WARM_TURNS:
            self._began = (now, time.process_time())
        if self._turn >= WARM_TURNS:
            self._spent[self._turn % 2].append((now - self._thread_s) / TURN * 1e6)
        self._turn += 1
        self._thread_s = now

    def figures(self) -> dict[str, float]:
        """us a hop: without, with, and the exporting of those with."""
        threads = (time.process_time() - self._began[1]) - (time.thread_time() - self._began[0])
        exported = max(threads, 0) / ((self._turn - WARM_TURNS) / 2 * TURN) * 1e6
        return {"off": statistics.mean(self._spent[0]), "on": statistics.mean(self._spent[1]), "export": exported}


class Unwatched:
    def end(self, outcome: Outcome | None) -> None:
        """Nobody looks."""


class ByTurns:
    """Watches the hops of every other turn."""

    def __init__(self, watch: HopTelemetry, turns: Turns) -> None:
        self._watch = watch
        self._turns = turns
        self._seen = 0
        self._unwatched = Unwatched()

    def begin(self, hop: Hop) -> Watched:
        self._seen += 1
        if self._seen % TURN == 0:
            self._turns.next()
        return self._watch.begin(hop) if self._turns.is_on else self._unwatched


async def receive(url: str, count: int, options: Any) -> dict[str, float]:
    with telemetry(options[3], "executor") as (_, watch):
        turns = Turns()
        result = await hops.receive_governed(url, count, options, ByTurns(watch, turns))
    return result | turns.figures()


async def send(url: str, count: int, options: Any) -> dict[str, float]:
    goal_id, _, endpoint = options
    identity = Identity("orchestrator", mandates.KEYS["orchestrator"])
    parent = mandates.mandate(goal_id, Amount(10**6, 10**9, 10**9, 10**9))
    # As many traces as goals would be, so that a share of them can be taken.
    parents = [replace(parent, trace_id=sha256_hex(str(number).encode())[:32]) for number in range(100)]
    with telemetry(endpoint, "orchestrator") as (tracer, _watch):
        async with JetStreamTransport.connect(url, name="orchestrator") as transport:
            senders = (Sender(transport, identity), Sender(transport, identity, tracer=tracer))

            async def worker(sender: Sender, numbers: range) -> None:
                for number in numbers:
                    await sender.send(parents[number % 100], [mandates.draft(number)], now_ms=clock_ms())

            turns, began = Turns(), time.perf_counter()
            for first in range(0, count, TURN):
                sender, last = senders[turns.is_on], min(first + TURN, count)
                step = hops.WINDOW
                await asyncio.gather(*(worker(sender, range(first + at, last, step)) for at in range(step)))
                turns.next()
            wall = time.perf_counter() - began
    return {"cpu": 0.0, "wall": wall} | turns.figures()


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
    """What one hop still asks when nobody watches, at every place where there is something to be told."""
    watch: Any = None
    tracer: Any = None

    def both_sides() -> None:
        if tracer is None and watch is None:  # sender and actor
            active()  # after the gates
            active()  # after the policies
            for name in ("reserve", "settle"):
                with span(name) as shown:
                    shown.set("a", 1)

    count = 100_000
    return min(timeit.repeat(both_sides, number=count, repeat=5)) / count * 1e6


def measure(count: int) -> dict[str, float]:
    offs, shares = [], []
    with collector() as url:
        for _ in range(ROUNDS):
            found = hops.pair(receive, send, count, collector=url)
            sides = (found["in"], found["out"])
            off = sum(side["off"] for side in sides)
            on = sum(side["on"] + side["export"] for side in sides)
            offs.append(off)
            shares.append((on / off - 1) * 100)
    hop_us = statistics.median(offs)
    return {
        "telemetry_off_percent": off_us() / hop_us * 100,
        "telemetry_on_percent": statistics.median(shares),
        "telemetry_hop_us": hop_us,
    }
