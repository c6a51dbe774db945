"""The bytes of an intake as plain JSON, with everything in them that JSON or canonical JSON does not allow, each with
its JSON path. Pure; never raises.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from interlock.agents.goal.plan import Problem
from interlock.envelope.amounts import MAX_INT
from interlock.envelope.canonical import MAX_DEPTH

MAX_PROBLEMS = 50
MAX_LINE = 300
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")


class Read(Struct, frozen=True):
    """value: what was read, None if it is no JSON object. problems: empty if all of it may travel."""

    value: dict[str, Any] | None
    problems: list[Problem]


class _Repeated(dict[str, Any]):
    """An object that was written with some keys more than once; names: the first few of them."""

    def __init__(self, value: dict[str, Any]) -> None:
        super().__init__(value)
        self.names: list[str] = []


def read_json(data: bytes) -> Read:
    """A JSON object from bytes of any kind. Python's own parser is used: msgspec's takes duplicate keys silently."""
    try:
        value = json.loads(data.decode(), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        return _no_json(f"not UTF-8 at byte {error.start}")
    except RecursionError:
        return _no_json(f"nested deeper than {MAX_DEPTH}")
    except ValueError as error:
        return _no_json(f"not JSON: {error}")
    if not isinstance(value, dict):
        return _no_json("a goal is a JSON object")
    return Read(value, [])


def plain_problems(value: Any) -> list[Problem]:
    """What of a JSON value cannot travel (envelope.md: no floats, integers below 2^53, whole strings, bounded depth), in
    the order of the document, at most MAX_PROBLEMS.
    """
    problems: list[Problem] = []
    stack: list[tuple[Any, tuple[str | int, ...]]] = [(value, ())]
    while stack and len(problems) < MAX_PROBLEMS:
        node, where = stack.pop()
        message = _problem_with(node, len(where))
        if message:
            problems.append(problem(where, message))
        elif isinstance(node, dict):
            problems += [problem((*where, name), "is there twice") for name in getattr(node, "names", ())]
            stack.extend((item, (*where, key)) for key, item in reversed(node.items()))
        elif isinstance(node, list):
            stack.extend((node[index], (*where, index)) for index in range(len(node) - 1, -1, -1))
    return problems


def problem(where: Sequence[str | int], message: str) -> Problem:
    """A problem at a place, both fit to be shown: one line, bounded, nothing a terminal would obey."""
    return Problem(one_line(path_of(where)), one_line(message))


def path_of(where: Sequence[str | int]) -> str:
    """`$.tasks[0].id`; a key that is no plain word stands as `['a b']` (RFC 9535, section 2.3.1)."""
    path = "$"
    for part in where:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if _PLAIN_KEY.fullmatch(part) else f"[{part[:100]!r}]"
    return path


def one_line(text: str) -> str:
    """At most MAX_LINE characters, the unprintable ones escaped."""
    cut = text if len(text) <= MAX_LINE else text[: MAX_LINE - 1] + "…"
    if cut.isprintable():
        return cut
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in cut)


def _problem_with(node: Any, depth: int) -> str:
    if isinstance(node, str):
        return "" if _is_whole(node) else "text with a lone surrogate"
    if isinstance(node, float):
        return "numbers with a point, NaN and Infinity are not allowed; write them as strings"
    if isinstance(node, int) and not -MAX_INT <= node <= MAX_INT:
        return "an integer of 2^53 or more in size; write it as a string"
    if isinstance(node, dict):
        if not all(map(_is_whole, node)):
            return "a key with a lone surrogate"
        return f"nested deeper than {MAX_DEPTH}" if depth >= MAX_DEPTH else ""
    return f"nested deeper than {MAX_DEPTH}" if isinstance(node, list) and depth >= MAX_DEPTH else ""


def _is_whole(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    seen: set[str] = set()
    repeated = _Repeated(value)
    for key, _ in pairs:
        if key in seen and key not in repeated.names and len(repeated.names) < MAX_PROBLEMS:
            repeated.names.append(key)
        seen.add(key)
    return repeated


def _no_json(message: str) -> Read:
    return Read(None, [problem((), message)])
