"""Names of people in goals, as salted hashes that only live as long as their salt (AUD-10).

A goal's envelope is kept for ever, so the name of a stakeholder does not enter it: what enters is HMAC-SHA256 of the name
under a salt of that person alone, kept in the bucket `persons`. While the salt is there, a pseudonym is the same in every
goal and can be resolved; once it is dropped, nobody can tell whose it was, nor test a name against it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from interlock.bus.errors import Conflict
from interlock.bus.kv import Entry, kv_entries, kv_get, kv_put
from interlock.bus.streams import DAY_MS, kv_stream, kv_subject
from interlock.bus.transport import Transport
from interlock.envelope.ids import sha256_hex
from interlock.envelope.payloads import Intake, Stakeholder

BUCKET = "persons"
PREFIX = "person-"
# How old the note of a person's last use may get: a salt is not written anew with every goal.
USED_MS = DAY_MS


class Person(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """salt: 32 random bytes, in hex. used_ms: when a goal named the person last, by the day."""

    name: str
    salt: str
    used_ms: int

    @property
    def pseudonym(self) -> str:
        return PREFIX + hmac.new(bytes.fromhex(self.salt), self.name.encode(), hashlib.sha256).hexdigest()[:32]


class Persons:
    """The salts of one workspace. Raises BusError."""

    def __init__(self, transport: Transport, workspace: str) -> None:
        self._transport = transport
        self._workspace = workspace

    async def without_names(self, intake: Intake) -> Intake:
        """The goal with pseudonyms for its stakeholders and whoever handed it in."""
        stakeholders = [Stakeholder(name=await self.pseudonym(one.name), role=one.role) for one in intake.stakeholders]
        by = await self.pseudonym(intake.submitted_by) if intake.submitted_by else ""
        return replace(intake, stakeholders=stakeholders, submitted_by=by)

    async def pseudonym(self, name: str) -> str:
        """Of this name; its salt is made when it is first seen. A pseudonym stays what it is."""
        if is_pseudonym(name):
            return name
        now_ms, key = self._transport.clock.now_ms(), self._key(name)
        while True:
            entry = await kv_get(self._transport, BUCKET, key)
            known = None if entry is None else _read(entry)
            if known is not None and now_ms - known.used_ms < USED_MS:
                return known.pseudonym
            salt = known.salt if known is not None else secrets.token_hex(32)
            person = Person(name=name, salt=salt, used_ms=now_ms)
            try:
                await kv_put(
                    self._transport, BUCKET, key, msgspec.json.encode(person), revision=entry.revision if entry else 0
                )
            except Conflict:
                continue  # another gateway was first
            return person.pseudonym

    async def all(self) -> list[tuple[Person, int]]:
        """Everybody with a salt, and its revision."""
        entries = [entry async for entry in kv_entries(self._transport, BUCKET, self._workspace)]
        found = ((_read(entry), entry.revision) for entry in entries)
        return [(person, revision) for person, revision in found if person is not None]

    async def drop(self, person: Person, revision: int, admin: Transport) -> None:
        """Name and salt, for good. admin: a connection that may purge the bucket."""
        await admin.purge(kv_stream(BUCKET), kv_subject(BUCKET, self._key(person.name)), revision + 1)

    def _key(self, name: str) -> str:
        digest = sha256_hex("\n".join((self._workspace, name)).encode())
        return f"{self._workspace}.{digest[:32]}"


def is_pseudonym(name: str) -> bool:
    """Whether it is one already: a goal may be handed in again from what was recorded."""
    tail = name.removeprefix(PREFIX)
    return tail != name and len(tail) == 32 and not set(tail) - set("0123456789abcdef")


def _read(entry: Entry) -> Person | None:
    try:
        return msgspec.json.decode(entry.value, type=Person)
    except msgspec.MsgspecError:
        return None
