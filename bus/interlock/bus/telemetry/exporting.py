"""The exporting thread: a bounded queue between whoever works and a collector that may be slow, dead or gone.

Handing a span over never waits and never raises; what finds no room is dropped and counted.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from interlock.bus.telemetry.environment import TraceSettings
from interlock.bus.telemetry.spans import Span

log = logging.getLogger("interlock.telemetry")
FLUSH_S = 1.0


class Exporting(Protocol):
    """Sends a batch and answers whether it arrived; may take its time. close: ends what is under way."""

    def export(self, spans: Sequence[Span]) -> bool: ...

    def close(self) -> None: ...


class Exporter:
    """open_exporter: makes the exporter, in the thread and at once: what it imports is heavy, and better paid while a role
    starts than with its first hops. Then what is there by now is left out of garbage collection, which would else take longer
    with every hop's.
    """

    def __init__(self, settings: TraceSettings, open_exporter: Callable[[], Exporting]) -> None:
        self._settings = settings
        self._open = open_exporter
        self._queue: deque[Span] = deque()
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._exporter: Exporting | None = None
        self._is_failing = False
        self.exported = 0
        self.dropped_full = 0
        self.dropped_failed = 0
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, span: Span) -> None:
        """Takes a span, or drops it when the queue is full."""
        if len(self._queue) >= self._settings.max_queue:
            self.dropped_full += 1
            return
        self._queue.append(span)
        if len(self._queue) == self._settings.max_batch:
            self._wake.set()

    @property
    def is_open(self) -> bool:
        return self._exporter is not None

    @property
    def queued(self) -> int:
        return len(self._queue)

    def close(self, within_s: float = FLUSH_S) -> None:
        """Sends what is queued if that can be done in time; then it is lost."""
        self._ending.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(within_s)
        if self._thread.is_alive() and self._exporter is not None:
            self._exporter.close()

    def _run(self) -> None:
        with suppress(Exception):  # told with the first batch
            self._exporter = self._open()
            gc.freeze()
        while not self._ending.is_set():
            self._wake.wait(self._settings.delay_ms / 1000)
            self._wake.clear()
            self._send_all()
        self._send_all()

    def _send_all(self) -> None:
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._settings.max_batch))]
            if self._sent(batch):
                self.exported += len(batch)
                self._note(failing=False)
            else:
                self.dropped_failed += len(batch)
                self._note(failing=True)

    def _sent(self, batch: Sequence[Span]) -> bool:
        try:
            if self._exporter is None:
                self._exporter = self._open()
            return self._exporter.export(batch)
        except Exception as error:  # an exporter is an observer: it may fail
            log.debug("traces: %s: %s", type(error).__name__, error)
            time.sleep(0.1)  # whatever it is, not at full speed
            return False

    def _note(self, *, failing: bool) -> None:
        """Once when it begins and once when it ends, not with every batch."""
        if failing and not self._is_failing:
            log.warning("traces do not arrive at their collector; they are dropped until they do")
        elif not failing and self._is_failing:
            log.info("traces arrive at their collector again")
        self._is_failing = failing
