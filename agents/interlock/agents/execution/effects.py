"""The effect journal: intent before, outcome after (AUD-11). What a redelivered task finds decides what it may do."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from interlock.bus.errors import Conflict
from interlock.bus.journal import append, journal_subject, last_record
from interlock.bus.transport import Transport
from interlock.envelope.model import Attestation
from interlock.envelope.payloads import TaskResult


class Intent(Struct, frozen=True, tag="intent"):
    """The effect is about to begin."""

    task: str
    skill: str
    at_ms: int


class Settled(Struct, frozen=True, tag="outcome"):
    """What came of it: repeated as it stands, whenever the task is delivered again."""

    result: TaskResult
    attestations: list[Attestation]
    at_ms: int


class Withdrawn(Struct, frozen=True, tag="withdrawn"):
    """The effect was halted before it began: nothing happened, whatever the intent says."""

    at_ms: int


class Used(Struct, frozen=True, tag="approval_used"):
    """The approval allowed this run, and will allow no other."""

    envelope_id: str
    task: str
    at_ms: int


_decoder = msgspec.json.Decoder(Intent | Settled | Withdrawn)
_used_decoder = msgspec.json.Decoder(Used)
_encoder = msgspec.json.Encoder()


class EffectJournal:
    """One journal per task envelope, and one per approval that is used up."""

    def __init__(self, transport: Transport, workspace: str) -> None:
        self._transport = transport
        self._workspace = workspace

    async def look(self, envelope_id: str) -> tuple[int, Intent | Settled | None]:
        """(revision, last record): nothing yet, an intent without outcome, or the outcome."""
        message = await last_record(self._transport, self._subject(envelope_id))
        if message is None:
            return 0, None
        record = _decoder.decode(message.data)
        return message.sequence, None if isinstance(record, Withdrawn) else record

    async def intend(self, envelope_id: str, intent: Intent, revision: int) -> int:
        """Raises Conflict when another instance works on the same task."""
        return await append(self._transport, self._subject(envelope_id), _encoder.encode(intent), revision=revision)

    async def settle(self, envelope_id: str, outcome: Settled, revision: int) -> int:
        return await append(self._transport, self._subject(envelope_id), _encoder.encode(outcome), revision=revision)

    async def withdraw(self, envelope_id: str, at_ms: int, revision: int) -> int:
        return await append(
            self._transport, self._subject(envelope_id), _encoder.encode(Withdrawn(at_ms)), revision=revision
        )

    async def use_approval(self, approval_id: str, use: Used) -> bool:
        """Uses an approval up; False if another run has done so. The same run, begun again after a crash, still has it."""
        try:
            await append(self._transport, self._subject(approval_id), _encoder.encode(use), revision=0)
        except Conflict:
            message = await last_record(self._transport, self._subject(approval_id))
            return message is not None and _user_of(message.data) == use.envelope_id
        return True

    def _subject(self, envelope_id: str) -> str:
        return journal_subject(self._workspace, "effect", envelope_id)


def _user_of(record: bytes) -> str:
    """Empty for what an executor would not have written: then the approval allows nothing any more."""
    try:
        return _used_decoder.decode(record).envelope_id
    except (msgspec.MsgspecError, ValueError):
        return ""
