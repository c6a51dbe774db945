"""Deliveries that found a halt, or an open circuit, do not count as attempts.

A held hop stays in hand and uses up no delivery. But an instance that ends while it holds one costs a delivery each
time, and so does a broker that was away longer than the consumer waits; a long halt could so use up a hop's attempts.
From the second delivery on it is therefore written down, in the role's own part of the journal, up to which delivery
a hop met a halt; these do not count. Of deliveries that met an open circuit each is counted out by itself, so that what
keeps failing whenever it is tried is given up all the same.
"""

from __future__ import annotations

import logging

import msgspec
from msgspec import Struct

from interlock.bus.errors import BusError
from interlock.bus.streams import JOURNAL
from interlock.bus.transport import Message, Transport
from interlock.envelope.subjects import workspace_subject

log = logging.getLogger("interlock.actor")


class Excused(Struct, frozen=True):
    """delivered: how many deliveries do not count; after a halt all up to that one."""

    delivered: int


_decoder = msgspec.json.Decoder(Excused)


class Excuses:
    """Those of one role's inbox."""

    def __init__(self, transport: Transport, workspace: str, role: str) -> None:
        self._transport = transport
        self._workspace = workspace
        self._role = role

    async def note(self, message: Message) -> None:
        """This delivery met a halt. A first one need not be written down: it costs a single attempt at most."""
        if message.delivered < 2:
            return
        try:
            await self._transport.publish(self._subject(message), msgspec.json.encode(Excused(message.delivered)))
        except BusError as error:
            log.warning("hop %s: its halt could not be written down: %s", message.sequence, error)

    async def rest(self, message: Message) -> None:
        """This delivery met an open circuit. Raises BusError."""
        record = await self._transport.last(JOURNAL.name, self._subject(message))
        excused = 0 if record is None else _decoder.decode(record.data).delivered
        await self._transport.publish(self._subject(message), msgspec.json.encode(Excused(excused + 1)))

    async def attempts(self, message: Message, enough: int) -> int:
        """How many deliveries of it count. Looked up only for more than are enough. Raises BusError."""
        if message.delivered < enough:
            return message.delivered
        record = await self._transport.last(JOURNAL.name, self._subject(message))
        return message.delivered - (0 if record is None else _decoder.decode(record.data).delivered)

    def _subject(self, message: Message) -> str:
        return workspace_subject(self._workspace, "journal", "held", self._role, str(message.sequence))
