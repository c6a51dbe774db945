"""Verification: bytes in, verdict out; no exception escapes, whatever the bytes (envelope.md).

Each check is a pure function that answers with a reason of the closed list; `verify` runs them in order. The bus runs
the same functions one by one as middleware; the auditor and the bundle verifier run `verify`.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import UNSET, Struct

from interlock.envelope.amounts import time_ms
from interlock.envelope.canonical import canonical
from interlock.envelope.ids import role_of, sha256_hex
from interlock.envelope.keys import from_base64url, is_signed_by
from interlock.envelope.model import SPEC_VERSION, Envelope
from interlock.envelope.replay import ReplayMemory
from interlock.envelope.signing import signed_part, signed_part_of
from interlock.envelope.spelling import check_spelling
from interlock.envelope.subjects import PREFIX
from interlock.envelope.trust import Trust
from interlock.envelope.verdict import Reason

_decoder = msgspec.json.Decoder(Envelope)


class Limits(Struct, frozen=True):
    """Bounds of verification: bytes before decoding, the longest ttl a receiver honours, clock skew."""

    max_bytes: int = 256 * 1024
    max_ttl_ms: int = 3_600_000
    skew_ms: int = 5_000


class Checked(Struct, frozen=True):
    """reason OK: envelope and digest (SHA-256 of the wire bytes) are there. Else detail says in a line what is wrong;
    envelope is what could be decoded, for the record only.
    """

    reason: Reason
    detail: str = ""
    envelope: Envelope | None = None
    digest: str = ""

    @property
    def ok(self) -> bool:
        return self.reason is Reason.OK


DEFAULT_LIMITS = Limits()
OK = Checked(Reason.OK)


def decode(wire: bytes, limits: Limits = DEFAULT_LIMITS) -> Checked:
    """Size, then JSON and types, then version, then canonical form."""
    if len(wire) > limits.max_bytes:
        return Checked(Reason.TOO_LARGE, f"{len(wire)} bytes; at most {limits.max_bytes}")
    try:
        envelope = _decoder.decode(wire)
        check_spelling(envelope)
        if envelope.spec_version != SPEC_VERSION:
            return Checked(Reason.UNKNOWN_VERSION, f"specVersion {envelope.spec_version}; this is {SPEC_VERSION}")
        if canonical(envelope) != wire:
            return Checked(Reason.NOT_CANONICAL, "the bytes are not the RFC 8785 form of what they say", envelope)
        time_ms(envelope.created_at)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        return Checked(_decoding_reason(wire), _printable(str(error)))
    return Checked(Reason.OK, "", envelope, sha256_hex(wire))


def check_signature(
    envelope: Envelope, trust: Trust, seen_ms: int, wire: bytes | None = None, *, is_own: bool = False
) -> Checked:
    """The key: known, of the sender, in its window, not revoked; then the signature over the content. wire: the bytes
    `decode` found to be the envelope's canonical form, where they are at hand; they spare encoding it again. is_own:
    these very bytes came out of `seal` in this process (own_seals), so that their signature is good.
    """
    if envelope.workspace != trust.workspace:
        return Checked(Reason.WRONG_WORKSPACE, f"workspace {envelope.workspace}; trusted here is {trust.workspace}")
    if envelope.signature is UNSET:
        return Checked(Reason.BAD_SIGNATURE, "it is not signed")
    reason = trust.judge_key(envelope.key_id, envelope.sender, time_ms(envelope.created_at), seen_ms)
    if reason is not Reason.OK:
        return Checked(reason, f"key {envelope.key_id} for {envelope.sender}")
    if is_own:
        return OK
    try:
        signature = from_base64url(envelope.signature)
        message = signed_part(envelope) if wire is None else signed_part_of(wire, envelope.signature)
    except ValueError as error:
        return Checked(Reason.BAD_SIGNATURE, str(error))
    if not is_signed_by(envelope.key_id, message, signature):
        return Checked(Reason.BAD_SIGNATURE, f"not signed by {envelope.key_id}, or changed afterwards")
    return OK


def check_route(envelope: Envelope, subject: str, recipient: str) -> Checked:
    """Subject binding: signed for the subject it came on, which names its goal, intent and a role it is addressed to.
    recipient: the agent that reads; empty for an observer such as the auditor, who reads what is for others.
    """
    to = envelope.to
    if isinstance(to, str) and recipient in (to, ""):
        # By far the most: addressed to one, and read by that one or by an observer.
        expected = f"{PREFIX}.{envelope.workspace}.role.{role_of(to)}.{envelope.goal_id}.{envelope.intent}"
        if expected == subject == envelope.subject:
            return OK
    if envelope.subject != subject:
        return Checked(Reason.WRONG_SUBJECT, f"signed for {envelope.subject}, came on {subject[:256]}")
    tokens = subject.split(".")
    role = tokens[3] if len(tokens) == 6 else ""
    if tokens != [PREFIX, envelope.workspace, "role", role, envelope.goal_id, envelope.intent]:
        return Checked(Reason.WRONG_SUBJECT, "its subject does not name its workspace, goal and intent")
    recipients = envelope.recipients
    if role not in [role_of(agent) for agent in recipients]:
        return Checked(Reason.WRONG_RECIPIENT, f"addressed to {', '.join(recipients)}, came to {role}")
    if recipient and recipient not in recipients and role_of(recipient) not in recipients:
        return Checked(Reason.WRONG_RECIPIENT, f"addressed to {', '.join(recipients)}, read by {recipient}")
    return OK


def check_freshness(envelope: Envelope, now_ms: int, limits: Limits = DEFAULT_LIMITS) -> Checked:
    """Alive: not from the future beyond the skew, not past createdAt + ttlMs, and the ttl itself within bounds."""
    created_ms = time_ms(envelope.created_at)
    if envelope.ttl_ms > limits.max_ttl_ms:
        return Checked(Reason.TTL_TOO_LONG, f"ttlMs {envelope.ttl_ms}; at most {limits.max_ttl_ms}")
    if created_ms > now_ms + limits.skew_ms:
        return Checked(Reason.FROM_FUTURE, f"created {created_ms - now_ms} ms ahead of the clock")
    if now_ms > created_ms + envelope.ttl_ms + limits.skew_ms:
        return Checked(Reason.EXPIRED, f"dead for {now_ms - created_ms - envelope.ttl_ms} ms")
    return OK


def check_replay(
    envelope: Envelope,
    memory: ReplayMemory,
    sequence: int,
    now_ms: int,
    limits: Limits = DEFAULT_LIMITS,
    name: str = "",
) -> Checked:
    """Seen before at another place of the stream? Kept for ttl + skew. name: what a copy that was put back is known by,
    instead of the envelope's id.
    """
    dead_after_ms = time_ms(envelope.created_at) + envelope.ttl_ms + 2 * limits.skew_ms
    if not memory.admit(name or envelope.id, sequence, dead_after_ms, now_ms):
        return Checked(Reason.REPLAYED, f"message {name or envelope.id} was already received")
    return OK


def verify(
    wire: bytes,
    *,
    subject: str,
    recipient: str,
    trust: Trust,
    now_ms: int,
    memory: ReplayMemory | None = None,
    sequence: int = 0,
    limits: Limits = DEFAULT_LIMITS,
) -> Checked:
    """All checks in their order. Answers OK with the envelope, or the first reason. Never raises."""
    checked = decode(wire, limits)
    envelope = checked.envelope
    if not checked.ok or envelope is None:
        return checked
    for outcome in _checks(envelope, wire, subject, recipient, trust, now_ms, memory, sequence, limits):
        if not outcome.ok:
            return msgspec.structs.replace(outcome, envelope=envelope, digest=checked.digest)
    return checked


def _checks(
    envelope: Envelope,
    wire: bytes,
    subject: str,
    recipient: str,
    trust: Trust,
    now_ms: int,
    memory: ReplayMemory | None,
    sequence: int,
    limits: Limits,
) -> Iterator[Checked]:
    yield check_signature(envelope, trust, now_ms, wire)
    yield check_route(envelope, subject, recipient)
    yield check_freshness(envelope, now_ms, limits)
    if memory is not None:
        yield check_replay(envelope, memory, sequence, now_ms, limits)


def _printable(text: str) -> str:
    """A line for people: an error may quote what a stranger wrote, and that must not steer a terminal or a log."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text[:300])


class _VersionOnly(Struct, frozen=True):
    spec_version: str = msgspec.field(name="specVersion")


def _decoding_reason(wire: bytes) -> Reason:
    """An envelope of a later version may well have other fields: say so rather than `malformed`."""
    try:
        version = msgspec.json.decode(wire, type=_VersionOnly).spec_version
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return Reason.MALFORMED
    return Reason.MALFORMED if version == SPEC_VERSION else Reason.UNKNOWN_VERSION
