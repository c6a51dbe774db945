"""The book of deviations: their events on `audit.deviation`, each sealed by the auditor and written after the one before."""

from __future__ import annotations

from contextlib import aclosing

import msgspec

from interlock.agents.deviations.fold import Event, State, fold
from interlock.bus.records import Seals
from interlock.bus.streams import AUDIT
from interlock.bus.transport import Transport
from interlock.envelope.subjects import workspace_subject

_events = msgspec.json.Decoder(Event)


def deviation_subject(workspace: str) -> str:
    """Where the events are."""
    return workspace_subject(workspace, "audit", "deviation")


def statement_subject(workspace: str) -> str:
    """Where statements are, by whoever may make them."""
    return workspace_subject(workspace, "audit", "statement")


class Book:
    """seals: of the auditor; whatever else is on the subject does not count."""

    def __init__(self, transport: Transport, workspace: str, seals: Seals) -> None:
        self._transport = transport
        self._subject = deviation_subject(workspace)
        self._seals = seals
        self._last = 0
        self.state: State = {}

    async def refresh(self) -> State:
        """Reads what is new. Raises BusError; what was read until then counts."""
        messages = self._transport.read(AUDIT.name, [self._subject], from_sequence=self._last + 1)
        async with aclosing(messages):
            async for message in messages:
                if self._seals.hold(message, self._last):
                    self._take(message.data)
                self._last = message.sequence
        return self.state

    async def write(self, event: Event) -> None:
        """Raises Conflict if somebody else wrote since, and other BusErrors."""
        data = msgspec.json.encode(event)
        headers = self._seals.headers(self._subject, self._last, data)
        ack = await self._transport.publish(self._subject, data, headers=headers, expected_sequence=self._last)
        self._last = ack.sequence
        self.state = fold(self.state, event)

    def _take(self, data: bytes) -> None:
        try:
            self.state = fold(self.state, _events.decode(data))
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return  # sealed by a later version of us: not ours to judge
