"""Days and weeks in UTC, and which of them are over (seed 004, §2.1). Pure."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from msgspec import Struct

Length = Literal["day", "week"]
DAY_MS = 86_400_000
DAYS: dict[Length, int] = {"day": 1, "week": 7}
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Period(Struct, frozen=True):
    """From the start of a day to before the end of a day, ms since 1970 UTC. A week ends as Sunday begins."""

    length: Length
    start_ms: int
    end_ms: int

    @property
    def name(self) -> str:
        """Its last day: `2026-11-20`."""
        return day_name(self.end_ms - DAY_MS)

    @property
    def path(self) -> str:
        """`2026/11/20`."""
        return self.name.replace("-", "/")

    def holds(self, at_ms: int) -> bool:
        return self.start_ms <= at_ms < self.end_ms


def day_name(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")


def ending(length: Length, end_ms: int) -> Period:
    """The period that ends there; end_ms is the start of a day, for a week of a Sunday."""
    return Period(length, end_ms - DAYS[length] * DAY_MS, end_ms)


def named(length: Length, text: str) -> Period:
    """The period that holds the day `2026-11-20`. Raises ValueError."""
    if not _DATE.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no day like 2026-11-20")
    day = date.fromisoformat(text)
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return ending(length, next_end(length, int(midnight.timestamp() * 1000)))


def next_end(length: Length, now_ms: int) -> int:
    """When the period that is running now ends."""
    midnight = (now_ms // DAY_MS + 1) * DAY_MS
    if length == "day":
        return midnight
    weekday = datetime.fromtimestamp(midnight / 1000, UTC).weekday()  # Monday 0 … Sunday 6
    return midnight + int(timedelta(days=(6 - weekday) % 7).total_seconds() * 1000)


def over(length: Length, since_ms: int, now_ms: int, most: int) -> list[Period]:
    """The last `most` periods that are over and did not end before since_ms, oldest first."""
    end = next_end(length, now_ms)
    found: list[Period] = []
    while len(found) < most:
        end -= DAYS[length] * DAY_MS
        if end <= since_ms:
            break
        found.append(ending(length, end))
    return found[::-1]
