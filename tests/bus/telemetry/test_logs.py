"""Logs: JSON, redacted, with the hop they are about; and whatever the stream does, nobody waits and nothing breaks."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from interlock.bus.hop import DONE, Hop
from interlock.bus.telemetry.counting import HopCounts
from interlock.bus.telemetry.hops import HopTelemetry
from interlock.bus.telemetry.logs import LogThread, line, logging_to
from interlock.bus.telemetry.redaction import MASK
from interlock.bus.transport import Message
from tests.bus.telemetry.sensitive_lines import sensitive
from tests.envelope.samples import ENVELOPES

log = logging.getLogger("interlock.trial")


def written(stream: io.StringIO) -> list[dict[str, Any]]:
    return [msgspec.json.decode(text) for text in stream.getvalue().splitlines()]


def until(holds: Callable[[], bool], within_s: float = 5) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "too late"
        time.sleep(0.002)


def test_a_line_says_when_how_bad_who_and_what() -> None:
    stream = io.StringIO()
    with logging_to(stream, {"agent": "executor", "workspace": "w"}, "info"):
        log.info("hop %s not answered: %s", 7, "away")
        log.debug("not told")
    (said,) = written(stream)
    assert said.pop("at").endswith("Z")
    assert said == {
        "level": "info",
        "logger": "interlock.trial",
        "message": "hop 7 not answered: away",
        "agent": "executor",
        "workspace": "w",
    }


def test_while_a_hop_is_handled_lines_name_its_goal_and_trace() -> None:
    envelope = next(iter(ENVELOPES.values())).envelope
    telemetry = HopTelemetry("executor", "executor-w", counts=HopCounts())
    stream = io.StringIO()
    with logging_to(stream, {}, "info"):
        hop = Hop(Message(envelope.subject, b""), 0)
        watched = telemetry.begin(hop)
        log.info("not yet known")
        hop.envelope, hop.authentic = envelope, True
        log.info("known")
        watched.end(DONE)
        log.info("over")
    _, known, over = written(stream)
    assert (known["goalId"], known["traceId"]) == (envelope.goal_id, envelope.trace_id)
    assert (known["envelopeId"], known["intent"]) == (envelope.id, envelope.intent)
    assert "goalId" not in over


def test_secrets_do_not_reach_the_log_by_message_arguments_fields_or_stack() -> None:
    stream = io.StringIO()
    secret = next(secret for secret, _ in sensitive() if secret.startswith("ghp_"))
    with logging_to(stream, {}, "info"):
        log.info("given %s", secret)
        log.info("with fields", extra={"password": "short", "attempt": 2, "url": f"https://a:{secret}@host"})
        try:
            raise ValueError(f"bad token {secret}")
        except ValueError:
            log.exception("failed")
    told = stream.getvalue()
    assert secret not in told
    _, fields, failed = written(stream)
    assert fields["password"] == MASK and fields["attempt"] == 2
    assert failed["error"]["type"] == "ValueError" and "Traceback" in failed["error"]["stack"]


def test_no_line_of_the_corpus_leaks_through_the_log() -> None:
    stream = io.StringIO()
    corpus = sensitive()
    with logging_to(stream, {}, "info"):
        for _, text in corpus:
            log.info("%s", text)
    lines = stream.getvalue().splitlines()
    assert len(lines) == len(corpus)
    assert [text for (secret, text), shown in zip(corpus, lines, strict=True) if secret in shown] == []


@pytest.mark.parametrize(
    ("message", "arguments"), [("%d", ("no number",)), ("%s %s", (1,)), ("a\nb\x00\ud800", ()), ("{}%", (1,))]
)
def test_whatever_is_logged_is_one_line_of_json(message: str, arguments: tuple[Any, ...]) -> None:
    record = logging.LogRecord("a", logging.INFO, "", 0, message, arguments, None)
    text = line(record, {})
    assert text.count("\n") == 1 and msgspec.json.decode(text)["logger"] == "a"


class Broken(io.StringIO):
    def __init__(self, fault: Exception | None = None) -> None:
        super().__init__()
        self.fault = fault

    def write(self, text: str) -> int:
        if self.fault is not None:
            raise self.fault
        return super().write(text)


@pytest.mark.parametrize(
    "fault", [OSError(28, "No space left on device"), ValueError("closed file"), BrokenPipeError()]
)
def test_a_full_disk_loses_lines_counts_them_and_goes_on_when_there_is_room(fault: Exception) -> None:
    stream = Broken(fault)
    with logging_to(stream, {}, "info") as thread:
        log.info("lost")
        until(lambda: thread.lost == 1)
        stream.fault = None
        log.info("kept")
        until(lambda: thread.written == 1)
    assert [said["message"] for said in written(stream)] == ["kept"]


def test_without_a_standard_error_nothing_is_written_and_nothing_breaks() -> None:
    with logging_to(None, {}, "info") as thread:
        log.error("into nothing")
        until(lambda: thread.lost == 1)


def test_a_stream_that_hangs_holds_up_nobody() -> None:
    let_go = threading.Event()

    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            let_go.wait(30)
            return len(text)

    thread = LogThread({}, Stuck(), max_waiting=100)
    record = logging.makeLogRecord({"msg": "a", "levelno": logging.INFO})
    began = time.perf_counter()
    for _ in range(5_000):
        thread.handle(record)
    assert time.perf_counter() - began < 1.0
    assert thread.lost >= 4_890
    let_go.set()
    thread.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_process_whose_standard_error_is_full_or_closed_works_on() -> None:
    code = (
        "import logging, sys\n"
        "from interlock.bus.telemetry.logs import logging_to\n"
        "with logging_to(sys.stderr, {}, 'info') as logs:\n"
        "    for n in range(200): logging.getLogger('a').info('line %s', n)\n"
        "print(logs.lost)\n"
    )
    with open("/dev/full", "w") as full:
        told = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=full, text=True, timeout=30)
    assert told.stdout.strip() == "200"
    closed = subprocess.run(
        ["/bin/sh", "-c", f'exec "{sys.executable}" -c "$0" 2>&-', code],
        stdout=subprocess.PIPE,
        text=True,
        timeout=30,
        env=dict(os.environ),
    )
    assert closed.stdout.strip() == "200"
