"""Declarations that nats-server refuses, refused in memory as well: else they would first fail in earnest."""

from __future__ import annotations

from itertools import combinations

from interlock.bus.errors import Refused
from interlock.bus.streams import ConsumerSpec, StreamSpec
from interlock.bus.subject_filter import overlap

_FORBIDDEN = frozenset(" \t\r\n\f\x00")
_NOT_IN_NAMES = _FORBIDDEN | frozenset(".*>/\\")


def check_subject(subject: str) -> None:
    """Raises Refused for what cannot be a subject or a filter."""
    tokens = subject.split(".")
    if not _FORBIDDEN.isdisjoint(subject) or "" in tokens or ">" in tokens[:-1]:
        raise Refused(f"{subject[:80]!r} is no valid subject")


def check_stream(spec: StreamSpec) -> None:
    """Raises Refused."""
    _check_name(spec.name, "stream")
    _check_filters(spec.subjects, f"stream {spec.name}")
    if 0 < spec.max_age_ms < spec.dedupe_ms:
        raise Refused(f"stream {spec.name}: the dedupe window is longer than the messages' age")


def check_consumer(spec: ConsumerSpec) -> None:
    """Raises Refused."""
    _check_name(spec.name, "consumer")
    _check_filters(spec.subjects, f"consumer {spec.name}")
    if 0 < spec.max_deliver < len(spec.backoff_ms):
        raise Refused(f"consumer {spec.name}: more backoff steps than deliveries")


def _check_name(name: str, what: str) -> None:
    if not name or not _NOT_IN_NAMES.isdisjoint(name):
        raise Refused(f"{name[:80]!r} is no valid {what} name")


def _check_filters(subjects: tuple[str, ...], what: str) -> None:
    for subject in subjects:
        check_subject(subject)
    for one, other in combinations(subjects, 2):
        if overlap(one, other):
            raise Refused(f"{what}: subjects {one} and {other} overlap")
