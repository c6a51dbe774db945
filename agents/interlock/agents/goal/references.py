"""`${…}` references in a task's input: a whole string that stands for a value of the goal or of an earlier task."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

_REFERENCE = re.compile(r"^\$\{([A-Za-z0-9_.-]{1,200})\}$")
_ROOTS = ("goal", "inputs", "tasks", "plan", "attestations", "gates", "item", "index")


class BadReference(ValueError):
    """A reference that names nothing."""


def reference_in(value: Any) -> str | None:
    """`${a.b}` → `a.b`; None for anything else."""
    match = _REFERENCE.match(value) if isinstance(value, str) else None
    return match[1] if match else None


def references(value: Any) -> Iterator[tuple[str, str]]:
    """(JSON path, reference) of every reference inside a value."""
    stack = [("$", value)]
    while stack:
        path, node = stack.pop()
        if isinstance(node, dict):
            stack.extend((f"{path}.{key}", item) for key, item in node.items())
        elif isinstance(node, list):
            stack.extend((f"{path}[{index}]", item) for index, item in enumerate(node))
        else:
            reference = reference_in(node)
            if reference is not None:
                yield path, reference


def task_of(reference: str) -> str | None:
    """The task a reference reads from, if it reads from one."""
    parts = reference.split(".")
    return parts[1] if parts[0] == "tasks" and len(parts) > 1 else None


def problem_with(reference: str) -> str:
    """Empty, or why this can never be a reference."""
    root = reference.split(".")[0]
    return "" if root in _ROOTS else f"`{root}` is none of {', '.join(_ROOTS)}"


def resolve(value: Any, look_up: Callable[[list[str]], Any]) -> Any:
    """The value with every reference replaced. look_up gets the parts of a reference and raises BadReference."""
    if isinstance(value, dict):
        return {key: resolve(item, look_up) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, look_up) for item in value]
    reference = reference_in(value)
    return value if reference is None else look_up(reference.split("."))


def dig(value: Any, parts: list[str], whole: str) -> Any:
    """Walks into objects by key and lists by number. Raises BadReference, naming the part that is not there."""
    for part in parts:
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            raise BadReference(f"${{{whole}}}: there is no `{part}`")
    return value
