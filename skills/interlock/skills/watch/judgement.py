"""How a run ended, from what the host decided, what the child said, and how its process ended. Pure. The child's words
may be forged: they decide about nothing but the run itself, and are bounded here.
"""

from __future__ import annotations

import os
import signal

import msgspec

from interlock.skills.protocol import Answer, Outcome
from interlock.skills.values import unfit

MAX_DETAIL = 500
_answers = msgspec.json.Decoder(Answer)


def judge(
    verdict: tuple[Outcome, str] | None, status: int, result: bytes, log: str, *, cpu_seconds: int
) -> tuple[Outcome, str, object]:
    """Outcome, detail in one line, output. status: as wait(2) gives it."""
    if verdict is not None:
        return verdict[0], verdict[1], None
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGXCPU:
            return "cpu_limit", f"it used more than {cpu_seconds} CPU seconds", None
        return "crashed", f"it ended by {_signal_name(number)}", None
    try:
        answer = _answers.decode(result)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        tail = log.strip().splitlines()
        last = f": {one_line(tail[-1])[:300]}" if tail else ""
        return "crashed", f"it ended with status {os.waitstatus_to_exitcode(status)} and no result{last}", None
    problem = unfit(answer.output)
    if problem is not None:
        return problem[0], one_line(problem[1]), None
    return answer.status, one_line(answer.detail), answer.output


def said(result: bytes) -> str:
    """The status of one whole answer, empty for anything else."""
    try:
        return _answers.decode(result).status
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def one_line(text: str) -> str:
    """At most MAX_DETAIL printable characters without line breaks."""
    return _inert(" ".join(text[: 2 * MAX_DETAIL].split()))[:MAX_DETAIL]


def log_text(tail: bytes) -> str:
    """What a run printed, as text that does nothing to a terminal."""
    return _inert(tail.decode(errors="replace"))


def _inert(text: str) -> str:
    """Terminals obey control and direction characters; whoever reads a log must not."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)
