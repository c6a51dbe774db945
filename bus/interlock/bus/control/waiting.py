"""Holding a message that no Actor holds: the broker is told that it is being worked on until it may be."""

from __future__ import annotations

import anyio

from interlock.bus.control.halts import Doing
from interlock.bus.control.source import ControlSource
from interlock.bus.tasks import background
from interlock.bus.transport import Incoming

PROGRESS_MS = 3_000


async def held_until_allowed(control: ControlSource, doing: Doing, incoming: Incoming) -> None:
    """Returns when it may be done. No delivery is used up meanwhile."""

    async def show_progress() -> None:
        while True:
            await anyio.sleep(PROGRESS_MS / 1000)
            await incoming.progress()

    async with background() as group:
        group.start_soon(show_progress)
        await control.until_allowed(doing)
