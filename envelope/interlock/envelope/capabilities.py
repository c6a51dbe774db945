"""Capabilities: names such as `skill:mapping-context`; a held one may end in `*` and then covers what begins like it."""

from __future__ import annotations

from collections.abc import Sequence


def holds(held: Sequence[str], capability: str) -> bool:
    """Whether one of the held capabilities covers this one, which may itself end in `*`: nothing wider is covered."""
    return any(_covers(one, capability) for one in held)


def exceeding(held: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """What of the wanted is not covered by the held, sorted: empty if they only narrow."""
    return sorted(one for one in wanted if not holds(held, one))


def _covers(held: str, capability: str) -> bool:
    return held == capability or (held.endswith("*") and capability.startswith(held[:-1]))
