"""Subject filters as NATS reads them: `*` stands for one token, `>` for the rest, at least one token."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def matches(subject_filter: str, subject: str) -> bool:
    return _match(subject_filter.split("."), subject.split("."))


def any_of(filters: Sequence[str]) -> Callable[[str], bool]:
    """A test for subjects that at least one filter takes; no filter takes all. Quicker than `matches` when repeated."""
    literal = frozenset(one for one in filters if not is_wildcard(one))
    wild = [one.split(".") for one in filters if is_wildcard(one)]
    if not filters:
        return lambda subject: True
    if not wild:
        return literal.__contains__
    return lambda subject: subject in literal or _any(wild, subject.split("."))


def is_wildcard(subject_filter: str) -> bool:
    return any(token in ("*", ">") for token in subject_filter.split("."))


def overlap(one: str, other: str) -> bool:
    """Whether some subject is taken by both filters."""
    left, right = one.split("."), other.split(".")
    for a, b in zip(left, right, strict=False):
        if ">" in (a, b):
            return True
        if a != b and "*" not in (a, b):
            return False
    return len(left) == len(right)


def _any(filters: list[list[str]], subject: list[str]) -> bool:
    return any(_match(one, subject) for one in filters)


def _match(wanted: list[str], subject: list[str]) -> bool:
    if wanted[-1] == ">":
        if len(subject) < len(wanted):
            return False
        wanted = wanted[:-1]
    elif len(subject) != len(wanted):
        return False
    return all(a in ("*", b) for a, b in zip(wanted, subject, strict=False))
