"""The exporter: handing over never waits, whatever the collector does; nothing is lost unseen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from interlock.bus.telemetry.environment import TraceSettings
from interlock.bus.telemetry.exporting import Exporter
from interlock.bus.telemetry.spans import Span, Tracer

TRACER = Tracer(lambda _: None, lambda *_: None, lambda _: True)
QUICK = TraceSettings(delay_ms=5, max_queue=10, max_batch=4)


def a_span() -> Span:
    return Span(TRACER, "a", "internal", "1" * 32, "1" * 16, "", 0, {})


class Collector:
    """What the exporter talks to; `answers` decides what becomes of a batch."""

    def __init__(self, answers: Callable[[], bool] = lambda: True) -> None:
        self.batches: list[int] = []
        self.closed = threading.Event()
        self._answers = answers

    def export(self, spans: Sequence[Span]) -> bool:
        self.batches.append(len(spans))
        return self._answers()

    def close(self) -> None:
        self.closed.set()


def until(holds: Callable[[], bool], within_s: float = 5) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "too late"
        time.sleep(0.002)


def test_what_is_handed_over_arrives_in_batches_and_at_the_end() -> None:
    collector = Collector()
    exporter = Exporter(QUICK, lambda: collector)
    exporter.start()
    for _ in range(9):
        exporter.put(a_span())
    exporter.close()
    assert exporter.exported == sum(collector.batches) == 9
    assert max(collector.batches) <= 4 and exporter.dropped_full == exporter.dropped_failed == 0


def test_a_collector_that_hangs_holds_up_nobody_and_what_finds_no_room_is_counted() -> None:
    let_go = threading.Event()
    collector = Collector(lambda: let_go.wait(10))
    exporter = Exporter(QUICK, lambda: collector)
    exporter.start()
    exporter.put(a_span())
    until(lambda: len(collector.batches) == 1)
    began = time.perf_counter()
    for _ in range(1_000):
        exporter.put(a_span())
    assert time.perf_counter() - began < 0.5
    assert exporter.queued == 10 and exporter.dropped_full == 990
    ending = time.perf_counter()
    exporter.close(within_s=0.05)
    assert time.perf_counter() - ending < 2 and collector.closed.is_set()
    let_go.set()


@pytest.mark.parametrize("fault", [False, OSError("no route"), RuntimeError("odd")])
def test_a_collector_that_refuses_or_breaks_is_told_once_and_its_spans_are_counted(
    fault: bool | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def answer() -> bool:
        if isinstance(fault, Exception):
            raise fault
        return fault

    collector = Collector(answer)
    exporter = Exporter(QUICK, lambda: collector)
    exporter.start()

    def failed(number: int) -> bool:
        return exporter.dropped_failed == number

    for number in range(1, 4):
        exporter.put(a_span())
        until(partial(failed, number))
    exporter.close()
    assert exporter.exported == 0
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


def test_a_collector_that_comes_back_is_used_again() -> None:
    good = threading.Event()
    collector = Collector(good.is_set)
    exporter = Exporter(QUICK, lambda: collector)
    exporter.start()
    exporter.put(a_span())
    until(lambda: exporter.dropped_failed == 1)
    good.set()
    exporter.put(a_span())
    until(lambda: exporter.exported == 1)
    exporter.close()


def test_an_exporter_that_cannot_be_opened_loses_spans_and_nothing_else() -> None:
    def broken() -> Collector:
        raise ImportError("not installed")

    exporter = Exporter(QUICK, broken)
    exporter.start()
    exporter.put(a_span())
    until(lambda: exporter.dropped_failed == 1)
    exporter.close()
