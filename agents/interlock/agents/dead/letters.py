"""The dead letters of a workspace as they are stored, and which of them were put back (BUS-07).

Whoever may bury may write anything: what is no letter is shown as that, and nothing in one is believed that can be
looked up elsewhere. That one was put back is believed for the order that was signed.
"""

from __future__ import annotations

import base64
from contextlib import aclosing

import msgspec
from msgspec import Struct

from interlock.bus.deadletters import DeadLetter
from interlock.bus.streams import DEAD
from interlock.bus.transport import Message, Transport
from interlock.envelope.ids import is_uuid7, sha256_hex
from interlock.envelope.redrive import RedriveOrder, check_redrive, read_redrive
from interlock.envelope.subjects import workspace_subject
from interlock.envelope.trust import Trust

PUT_BACK = ("human", "redriven")  # where it is noted that a letter was put back


class Note(Struct, frozen=True):
    """letter: the sequence in DEAD of what was put back; order: as the copy's header carries it; became: where it is
    now, the copy's sequence in HOPS or the goal's id.
    """

    letter: int
    order: str
    became: str


class Entry(Struct, frozen=True, kw_only=True):
    """id: its sequence in DEAD. role, reason: of its subject, for that is what the broker lets its writer use. letter:
    None for what is none. original: its bytes, empty without them.
    """

    id: int
    role: str
    reason: str
    stored_ms: int
    letter: DeadLetter | None
    original: bytes = b""
    order: RedriveOrder | None = None
    became: str = ""

    @property
    def goal_id(self) -> str:
        """The goal that its subject names, empty if none."""
        tokens = self.letter.subject.split(".") if self.letter is not None else []
        return tokens[4] if len(tokens) == 6 and is_uuid7(tokens[4]) else ""


_letters = msgspec.json.Decoder(DeadLetter)
_notes = msgspec.json.Decoder(Note)


async def read_letters(transport: Transport, workspace: str, trust: Trust) -> list[Entry]:
    """All of them, oldest first. Raises BusError."""
    entries: dict[int, Entry] = {}
    async with aclosing(transport.read(DEAD.name, [workspace_subject(workspace, "dead", ">")])) as messages:
        async for message in messages:
            role, _, reason = message.subject.split(".", 3)[3].partition(".")
            if (role, reason) == PUT_BACK:
                _mark(entries, message, trust)
            else:
                entries[message.sequence] = entry_of(message)
    return list(entries.values())


def entry_of(message: Message) -> Entry:
    """What a message of DEAD is, whatever it holds."""
    role, _, reason = message.subject.split(".", 3)[3].partition(".")
    letter, original = None, b""
    try:
        letter = _letters.decode(message.data)
        original = base64.b64decode(letter.data, validate=True)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        letter = None
    return Entry(
        id=message.sequence,
        role=role,
        reason=reason,
        stored_ms=message.stored_ms,
        letter=letter,
        original=original,
    )


def _mark(entries: dict[int, Entry], message: Message, trust: Trust) -> None:
    try:
        note = _notes.decode(message.data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return
    entry, order = entries.get(note.letter), read_redrive(note.order)
    if entry is None or order is None or order.digest != sha256_hex(entry.original):
        return
    if check_redrive(order, trust, message.stored_ms).ok:
        entries[entry.id] = msgspec.structs.replace(entry, order=order, became=note.became[:64])
