"""Dead letters: what could not be handled, whole, with the reason, before the original is terminated (BUS-07)."""

from __future__ import annotations

import base64

import msgspec
from msgspec import Struct

from interlock.bus.transport import Message, Transport
from interlock.envelope.amounts import timestamp
from interlock.envelope.ids import Token
from interlock.envelope.subjects import workspace_subject

MAX_DETAIL = 20_000


class DeadLetter(Struct, frozen=True, rename="camel", kw_only=True):
    """What `dead.<role>.<reason>` holds. data: the original's bytes, base64."""

    role: Token
    reason: str
    detail: str
    stream: str
    sequence: int
    subject: str
    message_id: str
    delivered: int
    stored_at: str
    at: str
    data: str

    @property
    def original(self) -> bytes:
        return base64.b64decode(self.data)


async def bury(
    transport: Transport,
    workspace: str,
    role: str,
    stream: str,
    message: Message,
    *,
    reason: str,
    detail: str,
    now_ms: int,
) -> DeadLetter:
    """Publishes the dead letter; the same message buried twice by a role is one dead letter."""
    letter = DeadLetter(
        role=role,
        reason=reason,
        detail=detail[:MAX_DETAIL],
        stream=stream,
        sequence=message.sequence,
        subject=message.subject[:256],
        message_id=message.headers.get("Nats-Msg-Id", "")[:128],
        delivered=message.delivered,
        stored_at=timestamp(message.stored_ms),
        at=timestamp(now_ms),
        data=base64.b64encode(message.data).decode(),
    )
    await transport.publish(
        workspace_subject(workspace, "dead", role, reason),
        msgspec.json.encode(letter),
        message_id=f"dead-{workspace}-{role}-{stream}-{message.sequence}",
    )
    return letter
