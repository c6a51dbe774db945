"""What a skill's output may hold: plain JSON that means the same to everybody (envelope.md). Pure; paths are put together
only for what is told, since keys are as long as their author likes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from interlock.envelope.amounts import MAX_INT
from interlock.envelope.canonical import MAX_DEPTH

Trail = tuple["Trail", str] | None
_KEY_SHOWN = 80


def find_float(value: Any) -> str:
    """The JSON path of some float inside value, or empty."""
    return next((path_of(trail) for node, trail, _ in walk(value) if isinstance(node, float)), "")


def unfit(value: Any) -> tuple[Literal["float_in_output", "output_invalid"], str] | None:
    """(outcome, one line) of the first thing that an output may not hold; None if it may hold all of it."""
    for node, trail, depth in walk(value):
        if isinstance(node, float):
            return (
                "float_in_output",
                f"{path_of(trail)} has a decimal point; write it as a string or scale it to an integer",
            )
        if isinstance(node, int) and not -MAX_INT <= node <= MAX_INT:
            return "output_invalid", f"{path_of(trail)} is an integer of 2^53 or more in size; write it as a string"
        if isinstance(node, dict | list) and depth >= MAX_DEPTH:
            return "output_invalid", f"{path_of(trail)[:200]} nests deeper than {MAX_DEPTH}"
    return None


def walk(value: Any) -> Iterator[tuple[Any, Trail, int]]:
    """Every value inside, with the way to it and its depth. Does not recurse."""
    stack: list[tuple[Any, Trail, int]] = [(value, None, 0)]
    while stack:
        node, trail, depth = stack.pop()
        yield node, trail, depth
        if isinstance(node, dict):
            stack.extend((item, (trail, f".{key}"[:_KEY_SHOWN]), depth + 1) for key, item in node.items())
        elif isinstance(node, list):
            stack.extend((item, (trail, f"[{index}]"), depth + 1) for index, item in enumerate(node))


def path_of(trail: Trail) -> str:
    """`$.a[0].b`, long keys cut."""
    steps = []
    while trail is not None:
        trail, step = trail
        steps.append(step)
    return "$" + "".join(reversed(steps))
