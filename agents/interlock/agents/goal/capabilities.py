"""Capabilities: what a goal holds and what a skill needs."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase


def holds(held: Sequence[str], capability: str) -> bool:
    """Whether one of the held capabilities, which may end in `*`, covers this one."""
    return any(fnmatchcase(capability, pattern) for pattern in held)
