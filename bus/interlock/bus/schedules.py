"""Reminders kept by the broker: a message that lands in TIMERS at a time, whoever is running by then (nats-facts.md).

A reminder is no proof of anything: whoever may write to TIMERS can make one land early. Its reader asks its own clock.
"""

from __future__ import annotations

from datetime import UTC, datetime

from interlock.bus.transport import Transport
from interlock.envelope.subjects import workspace_subject

SCHEDULE = "Nats-Schedule"
SCHEDULE_TARGET = "Nats-Schedule-Target"
SCHEDULE_TTL = "Nats-Schedule-TTL"
SCHEDULER = "Nats-Scheduler"
SCHEDULE_NEXT = "Nats-Schedule-Next"
AT = "@at "
# Long enough for everybody to have read it, short enough that old reminders never crowd out those still to come.
KEPT = "24h"


def due_subject(workspace: str, kind: str, *key: str) -> str:
    """Where the reminder lands: `interlock.<workspace>.timer.due.<kind>.<key…>`. Raises ValueError."""
    return workspace_subject(workspace, "timer", "due", kind, *key)


async def remind(transport: Transport, workspace: str, kind: str, *key: str, due_ms: int) -> None:
    """Has the broker put an empty message on `due_subject` at this time (ms since 1970 UTC), at once if it has passed.
    The same kind and key again replaces a reminder that has not landed yet. Raises BusError.
    """
    at = datetime.fromtimestamp(due_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    headers = {
        SCHEDULE: f"{AT}{at}",
        SCHEDULE_TARGET: due_subject(workspace, kind, *key),
        SCHEDULE_TTL: KEPT,
    }
    await transport.publish(workspace_subject(workspace, "timer", "set", kind, *key), b"", headers=headers)
