"""Journals: append-only logs with an expected revision, one subject each, in the stream JOURNAL.

An actor's lasting state is the fold of its journal; two writers cannot both append after the same record (ROL-02).
"""

from __future__ import annotations

from contextlib import aclosing

from interlock.bus.records import Seals, sealed_only
from interlock.bus.streams import JOURNAL
from interlock.bus.transport import NO_HEADERS, Message, Transport
from interlock.envelope.subjects import workspace_subject


def journal_subject(workspace: str, kind: str, key: str) -> str:
    """`interlock.<workspace>.journal.<kind>.<key>`; kind and key are tokens."""
    return workspace_subject(workspace, "journal", kind, key)


async def append(
    transport: Transport, subject: str, record: bytes, *, revision: int, seals: Seals | None = None
) -> int:
    """Appends after the record at this revision (0: the first) and answers the new revision. seals: signs it. Raises
    Conflict when another writer was first.
    """
    headers = seals.headers(subject, revision, record) if seals is not None else NO_HEADERS
    ack = await transport.publish(subject, record, headers=headers, expected_sequence=revision)
    return ack.sequence


async def read_journal(transport: Transport, subject: str, seals: Seals | None = None) -> tuple[list[Message], int]:
    """(all records that count, oldest first; the revision to append after). seals: only what its writer signed counts."""
    records: list[Message] = []
    revision = 0
    async with aclosing(transport.read(JOURNAL.name, [subject])) as messages:
        async for message, counts in sealed_only(messages, seals):
            revision = message.sequence
            if counts:
                records.append(message)
    return records, revision


async def last_record(transport: Transport, subject: str) -> Message | None:
    return await transport.last(JOURNAL.name, subject)
