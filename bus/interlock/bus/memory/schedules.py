"""Message schedules in memory: what nats-server makes of `Nats-Schedule: @at …`, at the time of the broker's clock."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from interlock.bus.errors import Refused
from interlock.bus.schedules import AT, SCHEDULE, SCHEDULE_NEXT, SCHEDULE_TARGET, SCHEDULER
from interlock.bus.streams import StreamSpec
from interlock.bus.subject_filter import any_of, is_wildcard


class Planned(Struct, frozen=True):
    """What is to be stored when: target subject, time in ms, headers."""

    target: str
    due_ms: int
    headers: Mapping[str, str]


def planned(spec: StreamSpec, subject: str, headers: Mapping[str, str]) -> Planned | None:
    """None for a message that schedules nothing. Raises Refused for what the server refuses."""
    when = headers.get(SCHEDULE)
    if when is None:
        return None
    if not spec.allow_schedules:
        raise Refused(f"publish to {subject}: message schedules is disabled")
    target = headers.get(SCHEDULE_TARGET, "")
    if not target or target == subject or is_wildcard(target) or not any_of(spec.subjects)(target):
        raise Refused(f"publish to {subject}: message schedules target is invalid")
    try:
        due = datetime.fromisoformat(when.removeprefix(AT))
    except ValueError as error:
        raise Refused(f"publish to {subject}: message schedules pattern is invalid") from error
    if not when.startswith(AT) or due.tzinfo is None:
        raise Refused(f"publish to {subject}: message schedules pattern is invalid")
    return Planned(target, int(due.timestamp() * 1000), {SCHEDULER: subject, SCHEDULE_NEXT: "purge"})
