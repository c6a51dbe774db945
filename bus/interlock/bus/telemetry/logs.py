"""Structured logs (OPS-03): a line of JSON each, with trace and goal, redacted; written by a thread of its own.

Whoever logs hands over a record and goes on. A full disk, a closed or a stuck standard error loses lines, which are
counted; it never stops or slows a hop.
"""

from __future__ import annotations

import logging
import queue
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import msgspec

from interlock.bus.hop import Hop
from interlock.bus.telemetry.spans import handled
from interlock.envelope.amounts import timestamp

MAX_WAITING = 10_000
MAX_STACK = 16_000
END_S = 1.0
# What every LogRecord has; anything else in it was given by whoever logged.
_ORDINARY = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "hop"}


def line(record: logging.LogRecord, about: Mapping[str, str]) -> str:
    """The record as JSON, with a line break. about: what is said of the process in every line. Never raises."""
    try:
        message = record.getMessage()
    except Exception as error:  # arguments that do not fit; the text itself is worth having
        message = f"{record.msg} ({type(error).__name__}: {error})"
    said: dict[str, Any] = {
        "at": timestamp(int(record.created * 1000)),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": _text(message),
        **about,
    }
    hop: Hop | None = getattr(record, "hop", None)
    if hop is not None and hop.authentic:
        envelope = hop.envelope
        said |= {"goalId": envelope.goal_id, "traceId": envelope.trace_id, "spanId": envelope.span_id}
        said |= {"envelopeId": envelope.id, "sender": envelope.sender, "intent": envelope.intent}
    given = {name: value for name, value in vars(record).items() if name not in _ORDINARY and not name.startswith("_")}
    said |= {name: _told(name, value) for name, value in given.items()}
    if record.exc_info and record.exc_info[1] is not None:
        raised = record.exc_info[1]
        stack = "".join(traceback.format_exception(raised))[-MAX_STACK:]
        said["error"] = {"type": type(raised).__name__, "stack": _text(stack)}
    return msgspec.json.encode(said).decode() + "\n"


def _told(name: str, value: Any) -> Any:
    from interlock.bus.telemetry.redaction import MASK, is_sensitive_name

    if is_sensitive_name(name):
        return MASK
    return value if value is None or isinstance(value, bool | int | float) else _text(str(value))


def _text(text: str) -> str:
    """As UTF-8 can say it."""
    # Its patterns take long to compile, and a role may have nothing to say.
    from interlock.bus.telemetry.redaction import redact

    return redact(text.encode("utf-8", "replace").decode())


class LogThread(logging.Handler):
    """Takes records; a thread of its own makes them lines and writes them."""

    def __init__(self, about: Mapping[str, str], stream: TextIO | None, max_waiting: int = MAX_WAITING) -> None:
        super().__init__()
        self._about = dict(about)
        self._stream = stream
        self._queue: queue.Queue[logging.LogRecord | None] = queue.Queue(max_waiting)
        self.written = 0
        self.lost = 0
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)
        self._thread.start()

    def handle(self, record: logging.LogRecord) -> bool:
        """Hands over without waiting: neither for a lock nor for room."""
        if record.levelno < self.level:
            return False
        record.hop = handled()
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            self.lost += 1
        return True

    def close(self) -> None:
        """Writes what is waiting, if that can be done in time."""
        with suppress(queue.Full):
            self._queue.put_nowait(None)
        if self._thread.is_alive():
            self._thread.join(END_S)
        super().close()

    def _run(self) -> None:
        while (record := self._queue.get()) is not None:
            try:
                if self._stream is None:
                    raise OSError("there is no standard error")
                self._stream.write(line(record, self._about))
                self._stream.flush()
                self.written += 1
            except Exception:  # nobody is left who could be told
                self.lost += 1


@contextmanager
def logging_to(stream: TextIO | None, about: Mapping[str, str], level: str) -> Iterator[LogThread]:
    """Everything that is logged while the context lasts goes there, and nowhere else."""
    root = logging.getLogger()
    before, before_level = root.handlers[:], root.level
    thread = LogThread(about, stream)
    for handler in before:
        root.removeHandler(handler)
    root.addHandler(thread)
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    try:
        yield thread
    finally:
        logging.captureWarnings(False)
        root.removeHandler(thread)
        for handler in before:
            root.addHandler(handler)
        root.setLevel(before_level)
        thread.close()
