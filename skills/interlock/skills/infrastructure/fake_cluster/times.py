"""The server's clock: it follows the machine's, or stands still until an admin steps it."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class ServerClock:
    """stepped: stands at start_ms until `advance`; otherwise the machine's time plus what was advanced."""

    def __init__(self, *, stepped: bool, start_ms: int | None = None) -> None:
        self.stepped = stepped
        machine_ms = time.time_ns() // 1_000_000
        self._at_ms = machine_ms if start_ms is None else start_ms
        self._offset_ms = self._at_ms - machine_ms

    def now_ms(self) -> int:
        """UTC milliseconds."""
        return self._at_ms if self.stepped else time.time_ns() // 1_000_000 + self._offset_ms

    def advance(self, ms: int) -> None:
        """Later by so much, also for a clock that runs."""
        self._at_ms += ms
        self._offset_ms += ms

    def stamp(self) -> str:
        """Now, as objects write times."""
        return stamp(self.now_ms())


def stamp(at_ms: int) -> str:
    """RFC 3339, whole seconds, as `metav1.Time`."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_stamp(text: str) -> int:
    """UTC milliseconds of such a time."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)
