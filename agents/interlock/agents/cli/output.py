"""Standard output as it is: perhaps closed, full, or without the characters that we use."""

from __future__ import annotations

import codecs
import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path

_PLAIN = {
    "→": "->",
    "✓": "ok",
    "✗": "FAIL",
    "├": "|",
    "└": "`",
    "│": "|",
    "─": "-",
    "…": "...",
    "·": "-",
    "█": "#",
    "—": "-",
    "“": '"',
    "”": '"',
    "’": "'",
}


def prepare_output() -> None:
    """Makes both streams take every text: what their encoding does not have is told in ASCII. A stream that was closed
    before we began (`>&-`) becomes one that takes everything and keeps nothing.
    """
    codecs.register_error("interlock", _told_in_ascii)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - as long as the process
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="interlock")


def abandon_output() -> None:
    """Nobody reads it any more, or it is full: Python would complain once more at exit."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _told_in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    told = (_PLAIN.get(character) or ascii(character)[1:-1] for character in text)
    return "".join(told), error.end
