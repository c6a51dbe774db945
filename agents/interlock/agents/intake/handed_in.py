"""A goal's message as somebody handed it in: which goal it asks for, and whether it was handed in at all. Pure."""

from __future__ import annotations

import hashlib

from interlock.bus.relays import RELAYED
from interlock.bus.transport import MESSAGE_ID, Message
from interlock.envelope.ids import is_uuid7, new_id

INVALID = "invalid_intake"  # the reason of its dead letter
REFUSED_BEFORE = "what was handed in under this message id was refused; a new try needs a new id"


def goal_id_of(message: Message) -> str:
    """The submitter's own choice, if the message id is a UUIDv7; else derived from where the message is stored."""
    chosen = message.headers.get(MESSAGE_ID, "")
    if is_uuid7(chosen):
        return chosen
    place = f"{message.subject}:{message.sequence}:{message.stored_ms}"
    return new_id(message.stored_ms, hashlib.sha256(place.encode()).digest()[:10])


def relay_problem(message: Message, *, named_only: bool) -> str:
    """What shows that no submitter wrote this, empty if nothing does. Whoever may read a stream may have the broker
    publish a stored message here as the answer to a direct get: then it bears the broker's own header, or no header at
    all. So where the broker knows its users a goal must bear its message id (docs/security.md).
    """
    if RELAYED in message.headers:
        return f"a message with the header {RELAYED} was relayed by the broker, not handed in"
    if named_only and not message.headers.get(MESSAGE_ID):
        return f"in a secured workspace a goal is handed in with a header {MESSAGE_ID}: any new UUIDv7"
    return ""


def stored_bytes(message: Message) -> int:
    """What a stream counts: data and headers on the wire (NATS/1.0, one line each)."""
    lines = [f"{name}: {value}\r\n".encode("utf-8", "surrogatepass") for name, value in message.headers.items()]
    return len(message.data) + (sum(map(len, lines)) + len("NATS/1.0\r\n\r\n") if lines else 0)
