"""The broker's own giving up: a message whose deliveries are used up, or that somebody terminated without a word, becomes
a dead letter (BUS-07).

Actors bury what they give up themselves, and long before the broker does. What is left is what no actor lived to answer.
The broker says so once, in a plain message; a stream keeps these, so that one that nobody heard is heard later.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from msgspec import Struct

from interlock.bus.backoff import Backoff, delay_ms
from interlock.bus.deadletters import bury
from interlock.bus.errors import BusError
from interlock.bus.streams import WORKER_ROLES, advisories_of, consumers_of
from interlock.bus.transport import Incoming, Message, Transport
from interlock.envelope.verdict import Reason

log = logging.getLogger("interlock.advisories")
# What our own actors terminate with, always after they have buried the message or answered whoever sent it.
OURS = frozenset((*Reason, "invalid_intake"))
_GIVEN_UP = "io.nats.jetstream.advisory.v1.max_deliver"


class Advisory(Struct, frozen=True):
    """What nats-server says of a message (its schema io.nats.jetstream.advisory.v1). reason: that of a termination."""

    type: str
    stream: str
    consumer: str
    stream_seq: int
    deliveries: int = 0
    reason: str = ""


_decoder = msgspec.json.Decoder(Advisory)


class AdvisoryWatch:
    """Runs in the auditor. Several may: the same message buried twice is one dead letter."""

    def __init__(self, transport: Transport, workspace: str) -> None:
        self._transport = transport
        self._workspace = workspace
        self._roles = {
            (spec.stream, spec.name): _role(spec.name.removesuffix(f"-{workspace}")) for spec in consumers_of(workspace)
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While it lasts, advisories become dead letters; those of the time before first."""
        async with self._transport.consume(advisories_of(self._workspace), self._on_advisory, concurrency=4):
            yield

    async def _on_advisory(self, incoming: Incoming) -> None:
        told = incoming.message
        try:
            advisory = _decoder.decode(told.data)
            role = self._roles.get((advisory.stream, advisory.consumer))
            if role is not None and (advisory.type == _GIVEN_UP or advisory.reason not in OURS):
                await self._bury(role, advisory)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            log.warning("advisory %s is none that can be read: %s", told.sequence, error)
        except BusError as error:
            log.warning("advisory %s could not be dealt with: %s", told.sequence, error)
            await incoming.retry(delay_ms(Backoff(), told.delivered, str(told.sequence)))
            return
        await incoming.ack()

    async def _bury(self, role: str, advisory: Advisory) -> None:
        given_up = advisory.type == _GIVEN_UP
        detail = f"consumer {advisory.consumer}: {advisory.deliveries} deliveries, and no answer"
        if not given_up:
            detail = f"terminated at consumer {advisory.consumer}: {advisory.reason[:200] or 'no reason given'}"
        message = await self._transport.get(advisory.stream, advisory.stream_seq)
        if message is None:
            message = Message("", b"", sequence=advisory.stream_seq)
            detail += "; the message itself is no longer in the stream"
        await bury(
            self._transport,
            self._workspace,
            role,
            advisory.stream,
            msgspec.structs.replace(message, delivered=advisory.deliveries),
            reason=Reason.MAX_DELIVERIES if given_up else Reason.TERMINATED,
            detail=detail,
            now_ms=self._transport.clock.now_ms(),
        )


def _role(name: str) -> str:
    """Whose consumer it is: an inbox is its role's, the gateway's is its own; the others are the orchestrator's."""
    return name if name in (*WORKER_ROLES, "gateway") else "orchestrator"
