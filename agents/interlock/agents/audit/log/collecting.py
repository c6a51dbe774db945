"""Reading from the broker what a bundle carries of the audit log."""

from __future__ import annotations

from contextlib import aclosing

import anyio

from interlock.agents.audit.log.bundled import LogSection, log_broken, make_section, of_goal
from interlock.agents.audit.log.check import auditors, last_checkpoint
from interlock.agents.audit.log.records import lines_of
from interlock.agents.audit.log.sources import log_subject, origin_of
from interlock.bus.streams import AUDIT, HOPS
from interlock.bus.transport import Transport
from interlock.envelope.checkpoint import CheckpointError, open_checkpoint
from interlock.envelope.trust import Trust

# A checkpoint follows the news within a second; an auditor that is down writes none, however long one waits.
WAIT_S, AGAIN_S = 5.0, 0.1


async def log_section(
    transport: Transport, workspace: str, goal_id: str, trust: Trust, last_sequence: int
) -> LogSection | None:
    """Of the newest checkpoint that covers HOPS up to a sequence, the goal's last. None if there is none within a few
    seconds. Raises UserError if the log contradicts its checkpoint: then `audit check` is the thing to do.
    """
    with anyio.move_on_after(WAIT_S):
        while True:
            note = await last_checkpoint(transport, workspace)
            if note is None:
                return None
            try:
                checkpoint = open_checkpoint(note, auditors(trust), origin_of(workspace))
            except CheckpointError as error:
                raise log_broken(str(error)) from error
            lines = await _lines(transport, workspace, checkpoint.size)
            records = of_goal(lines, goal_id)
            if any(record.stream == HOPS.name and record.sequence >= last_sequence for record in records.values()):
                return make_section(note.decode(), checkpoint, lines, records)
            await anyio.sleep(AGAIN_S)
    return None


async def _lines(transport: Transport, workspace: str, size: int) -> list[bytes]:
    lines: list[bytes] = []
    async with aclosing(transport.read(AUDIT.name, [log_subject(workspace)])) as messages:
        async for message in messages:
            lines += lines_of(message.data)
            if len(lines) >= size:
                break
    return lines[:size]
