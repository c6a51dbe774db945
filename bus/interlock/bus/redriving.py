"""Copies of envelopes that a human put back from the dead letters: how a message is recognised as one (BUS-07)."""

from __future__ import annotations

from interlock.bus.streams import HOPS
from interlock.bus.transport import MESSAGE_ID, Message
from interlock.envelope.redrive import RedriveOrder, check_redrive, read_redrive
from interlock.envelope.trust import Trust
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import OK, Checked

REDRIVE = "Interlock-Redrive"


def is_redriven(message: Message) -> bool:
    """Whether it says so of itself."""
    return REDRIVE in message.headers


def check_copy(message: Message, digest: str, trust: Trust, seen_ms: int) -> Checked:
    """Whether the order that the message carries was given for these bytes, this message id, and an earlier place of the
    stream. digest: SHA-256 of the message's bytes.
    """
    order = read_redrive(message.headers.get(REDRIVE, ""))
    if order is None:
        return Checked(Reason.REPLAYED, f"the header {REDRIVE} holds no order")
    problem = _mismatch(order, message, digest)
    if problem:
        return Checked(Reason.REPLAYED, f"a redrive order for {problem}")
    checked = check_redrive(order, trust, seen_ms)
    return OK if checked.ok else Checked(Reason.REPLAYED, f"redrive order refused: {checked.reason}: {checked.detail}")


def _mismatch(order: RedriveOrder, message: Message, digest: str) -> str:
    if order.digest != digest:
        return "other bytes"
    if order.stream != HOPS.name or order.sequence >= message.sequence:
        return f"{order.stream} {order.sequence}, which is not before this"
    return "" if message.headers.get(MESSAGE_ID) == order.message_id else "another message id"
