"""Journals: append-only logs with an expected revision, one subject each, in the stream JOURNAL.

An actor's lasting state is the fold of its journal; two writers cannot both append after the same record (ROL-02).
"""

from __future__ import annotations

from contextlib import aclosing

from interlock.bus.streams import JOURNAL
from interlock.bus.transport import Message, Transport
from interlock.envelope.subjects import workspace_subject


def journal_subject(workspace: str, kind: str, key: str) -> str:
    """`interlock.<workspace>.journal.<kind>.<key>`; kind and key are tokens."""
    return workspace_subject(workspace, "journal", kind, key)


async def append(transport: Transport, subject: str, record: bytes, *, revision: int) -> int:
    """Appends after the record at this revision (0: the first) and answers the new revision. Raises Conflict when
    another writer was first.
    """
    ack = await transport.publish(subject, record, expected_sequence=revision)
    return ack.sequence


async def read_journal(transport: Transport, subject: str) -> list[Message]:
    """All records, oldest first."""
    async with aclosing(transport.read(JOURNAL.name, [subject])) as messages:
        return [message async for message in messages]


async def last_record(transport: Transport, subject: str) -> Message | None:
    return await transport.last(JOURNAL.name, subject)
