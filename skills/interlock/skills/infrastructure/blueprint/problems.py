"""What is wrong with a blueprint, and where: one problem a line, sorted by place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

_SHOWN = 60


class Problem(Struct, frozen=True, order=True):
    """path: `spec.scaling.min_replicas`, empty for the file as a whole. instead: what may be written, empty if nobody
    knows. Lines and columns count from 1.
    """

    line: int
    column: int
    path: str
    expected: str
    found: str
    instead: str = ""

    def told(self, source: str) -> str:
        """One line: source:line:column: path: expected …; found …; write …"""
        where = f"{source}:{self.line}:{self.column}: "
        path = f"{self.path}: " if self.path else ""
        instead = f"; write {self.instead}" if self.instead else ""
        return f"{where}{path}expected {self.expected}; found {self.found}{instead}"


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Each once, by place."""
    return tuple(sorted(set(problems)))


def shown(value: Any) -> str:
    """A value as a problem quotes it: short, on one line, printable."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, str):
        return f"the text `{printable(value)}`" if value else "an empty text"
    return f"the number {str(value)[:_SHOWN]}"


def printable(text: str) -> str:
    """At most _SHOWN characters, none of which does anything but stand there."""
    short = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in short.replace("`", "'")
    )
