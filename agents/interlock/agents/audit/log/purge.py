"""Retention: what may be forgotten is, and the audit log says so first (AUD-10).

The log keeps the digest, place and time of every message for ever; a purge removes the bytes. It is noted before anything
is removed, so that a check never finds a gap that nobody told of, and only what the log has recorded is removed.
"""

from __future__ import annotations

from contextlib import aclosing

import anyio
from msgspec import Struct

from interlock.agents.audit.log.recorder import Recorder
from interlock.agents.audit.log.sources import PURGED
from interlock.agents.errors import UserError
from interlock.bus.streams import DEAD
from interlock.bus.transport import Transport
from interlock.envelope.subjects import workspace_subject

TRIES, PAUSE_S = 20, 0.1
FORGOTTEN = "forgotten"  # the event that the salt of a person is dropped by, with `person`, the pseudonym


class Due(Struct, frozen=True):
    """before: the first sequence of DEAD that stays; letters: how many go."""

    before: int
    letters: int


async def due_letters(transport: Transport, workspace: str, before_ms: int) -> Due:
    """The dead letters that were stored before a time."""
    last = count = 0
    async with aclosing(transport.read(DEAD.name, [workspace_subject(workspace, "dead", ">")])) as messages:
        async for message in messages:
            if message.stored_ms >= before_ms:
                break
            last, count = message.sequence, count + 1
    return Due(last + 1, count)


async def note_purge(recorder: Recorder, due: Due, by: str) -> None:
    """Into the log. Raises UserError when the log does not take it, LogBroken, BusError."""
    facts = {"event": PURGED, "stream": DEAD.name, "before": str(due.before), "by": by}
    await noted(recorder, facts, (DEAD.name, due.before - 1))


async def noted(recorder: Recorder, facts: dict[str, str], covered: tuple[str, int] | None = None) -> None:
    """covered: what the log must have recorded before, stream and sequence. Raises as note_purge."""
    for _ in range(TRIES):
        if await recorder.note(facts, covered):
            return
        await anyio.sleep(PAUSE_S)
    detail = "the audit log has not recorded what is to go, or is written all the time"
    raise UserError("not_recorded", detail, "Is `interlock up` running? Try again")


async def purge_letters(transport: Transport, workspace: str, due: Due) -> int:
    """Once it is noted. How many went. Raises BusError."""
    return await transport.purge(DEAD.name, workspace_subject(workspace, "dead", ">"), due.before)
