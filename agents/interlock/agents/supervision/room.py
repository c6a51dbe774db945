"""Room on the disk that holds a workspace: enough to start with, whether it ran out under a goal that is waited for, and what
is to be done when there is room again.

A broker whose disk is full takes nothing more, not even later, and says so to nobody who only waits (docs/guarantees.md, A
full disk).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio

from interlock.agents.errors import UserError
from interlock.bus.server.embedded import EmbeddedServer

log = logging.getLogger("interlock.house")

# A small goal leaves about one MiB behind; the rest is for what its skills write.
LEAST_BYTES = 32 << 20
FULL_BYTES = 1 << 20
STILL_S = 5.0
LOOK_S = 0.5


def free_bytes(place: Path) -> int:
    """On the disk that holds place, or will when it is made; with what is kept for root, if that is who asks."""
    while not place.exists() and place != place.parent:
        place = place.parent
    found = os.statvfs(place)
    return found.f_frsize * (found.f_bfree if os.geteuid() == 0 else found.f_bavail)


def check_room(place: Path) -> None:
    """Raises UserError."""
    free = free_bytes(place)
    if free < LEAST_BYTES:
        detail = f"only {free >> 10} KiB are free on the disk that holds {place}"
        raise UserError("no_space", detail, f"Free at least {LEAST_BYTES >> 20} MiB there, or choose another --dir")


async def until_full(place: Path, standing: Callable[[], object]) -> None:
    """For ever, until the disk is full and what is waited for has stood still for STILL_S. standing: how far it is. Raises
    UserError.
    """
    seen, since_s = standing(), time.monotonic()
    while True:
        await anyio.sleep(LOOK_S)
        if standing() != seen:
            seen, since_s = standing(), time.monotonic()
        elif time.monotonic() - since_s >= STILL_S and free_bytes(place) < FULL_BYTES:
            raise UserError(
                "no_space",
                f"the disk that holds {place} is full, and the goal stands still",
                "Make room there and run it again",
            )


async def keep_room(servers: Sequence[EmbeddedServer]) -> None:
    """For ever: says when the disk that the servers share is full, and ends them when there is room again, so that they begin
    anew. A disk that cannot be asked passes for one with room.
    """
    place = servers[0].store_dir

    def free() -> int:
        try:
            return free_bytes(place)
        except OSError:
            return LEAST_BYTES

    while True:
        while free() >= FULL_BYTES:
            await anyio.sleep(LOOK_S)
        log.error(
            "the disk that holds %s is full: nothing is taken in until there are %d MiB", place, LEAST_BYTES >> 20
        )
        while free() < LEAST_BYTES:
            await anyio.sleep(LOOK_S)
        log.warning("there is room again on the disk that holds %s", place)
        for server in servers:
            server.terminate()
