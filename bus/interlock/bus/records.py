"""Records that their reader acts on without anybody's envelope: balances, a goal's journal. Their writer signs them.

The broker alone cannot keep others from writing there: it publishes its answers (to a direct get, say) to whatever reply
subject the asker names, with the broker's rights, and what a direct get answers with may be bytes of the asker's own
(docs/security.md). So a record counts only if its writer's key signed it for this place: its subject, its bytes, and the
record before it on that subject, so that not even a copy of an old one counts.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import aclosing

from msgspec import Struct

from interlock.bus.gates import TrustSource
from interlock.bus.sender import Identity
from interlock.bus.transport import Message, Transport
from interlock.envelope.keys import base64url, from_base64url, is_signed_by
from interlock.envelope.signing import RECORD_DOMAIN, pre_auth
from interlock.envelope.verdict import Reason

SEAL = "Interlock-Seal"


class Seals(Struct, frozen=True):
    """Of one writer: the role of identity. Every instance's and every earlier key's seals count, each in its time."""

    identity: Identity
    trust: TrustSource

    def headers(self, subject: str, before: int, data: bytes) -> dict[str, str]:
        """before: sequence of the last message on the subject, 0 if there is none."""
        key = self.identity.key
        signature = key.sign(_signed(subject, before, data))
        return {SEAL: f"{key.key_id} {before} {base64url(signature)}"}

    def hold(self, message: Message, before: int) -> bool:
        """Whether the writer wrote this message after that one. Never raises."""
        key_id, _, rest = message.headers.get(SEAL, "").partition(" ")
        named, _, text = rest.partition(" ")
        judged = self.trust.trust.judge_key(key_id, self.identity.role, message.stored_ms, message.stored_ms)
        if judged is not Reason.OK or named != str(before):
            return False
        try:
            signature = from_base64url(text)
        except ValueError:
            return False
        return is_signed_by(key_id, _signed(message.subject, before, message.data), signature)


def before_of(message: Message) -> int:
    """What the record says stands before it; -1 if it says nothing."""
    named = message.headers.get(SEAL, "").split(" ")[1:2]
    return int(named[0]) if named and named[0].isdecimal() and len(named[0]) < 20 else -1


async def sealed_only(messages: AsyncIterable[Message], seals: Seals | None) -> AsyncIterator[tuple[Message, bool]]:
    """(message, whether it counts), in order. messages: all of one subject, from its first."""
    before = 0
    async for message in messages:
        yield message, seals is None or seals.hold(message, before)
        before = message.sequence


async def last_sealed(
    transport: Transport, stream: str, subject: str, seals: Seals | None
) -> tuple[Message | None, int]:
    """(the last record that counts, the sequence of the last message of all): the next is written after the latter."""
    last = await transport.last(stream, subject)
    if last is None:
        return None, 0
    if seals is None or await _is_next(transport, stream, last, seals):
        return last, last.sequence
    found: Message | None = None
    async with aclosing(transport.read(stream, [subject])) as messages:
        async for message, counts in sealed_only(messages, seals):
            last = message
            found = message if counts else found
    return found, last.sequence


async def _is_next(transport: Transport, stream: str, message: Message, seals: Seals) -> bool:
    """Sealed, and nothing stands between it and what it says stands before it."""
    before = before_of(message)
    if not 0 <= before < message.sequence or not seals.hold(message, before):
        return False
    async with aclosing(transport.read(stream, [message.subject], from_sequence=before + 1)) as messages:
        async for first in messages:
            return first.sequence == message.sequence
    return False


def _signed(subject: str, before: int, data: bytes) -> bytes:
    return pre_auth(RECORD_DOMAIN, b"%b %d %b" % (subject.encode(), before, data))
