"""The trust store: which key may sign as which agent, from when to when (GOV-01). Signed by root keys, versioned.

The stored form carries validity windows, revocations and a signing threshold; `load` refuses anything it cannot prove,
and any version older than one already seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta, Struct, field

from interlock.envelope.amounts import MAX_INT, Count, Timestamp, time_ms
from interlock.envelope.canonical import canonical
from interlock.envelope.ids import AgentId, Token, role_of
from interlock.envelope.keys import (
    KeyFormatError,
    SigningKey,
    base64url,
    check_enrolment,
    decode_public,
    from_base64url,
    is_signed_by,
)
from interlock.envelope.model import KeyId, Signature
from interlock.envelope.signing import TRUST_DOMAIN, pre_auth
from interlock.envelope.verdict import Reason

MAX_BYTES = 1 << 20


class TrustError(Exception):
    """The trust store cannot be believed. reason: malformed, not_canonical, untrusted_root, rolled_back, bad_key."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"trust store refused ({reason}): {detail}")
        self.reason = reason


class _Part(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    pass


class KeyRecord(_Part, frozen=True, kw_only=True):
    """One key of an agent, valid from notBefore until notAfter, unless revoked from revokedAt on."""

    key_id: KeyId
    not_before: Timestamp
    not_after: Timestamp
    revoked_at: Timestamp | None = None
    revoked_why: str = ""


class AgentRecord(_Part, frozen=True, kw_only=True):
    """An agent: `role` or `role.instance`. A record of a bare role speaks for all its instances."""

    agent: AgentId
    keys: list[KeyRecord]
    capabilities: list[str] = field(default_factory=list)
    trust_level: Count = 0


class TrustStore(_Part, frozen=True, kw_only=True):
    workspace: Token
    version: Annotated[int, Meta(ge=1, le=MAX_INT)]
    issued_at: Timestamp
    agents: list[AgentRecord]


class RootSignature(_Part, frozen=True, kw_only=True):
    key_id: KeyId
    signature: Signature


class SignedTrustStore(_Part, frozen=True, kw_only=True):
    """What is kept in KV `trust` and in trust.json: the store, and root signatures over its JCS bytes."""

    store: TrustStore
    signatures: list[RootSignature]


class Enrolled(Struct, frozen=True):
    """A key as verification needs it; times in ms since 1970 UTC."""

    agent: str
    not_before_ms: int
    not_after_ms: int
    revoked_at_ms: int | None
    trust_level: int
    capabilities: tuple[str, ...]

    def is_revoked(self, now_ms: int) -> bool:
        return self.revoked_at_ms is not None and now_ms >= self.revoked_at_ms


class Trust:
    """An index over a believed store. Pure lookups."""

    def __init__(self, store: TrustStore) -> None:
        self.workspace = store.workspace
        self.version = store.version
        self.store = store
        self._keys = {key.key_id: _enrolled(record, key) for record in store.agents for key in record.keys}

    def find(self, key_id: str) -> Enrolled | None:
        return self._keys.get(key_id)

    def has_key_for(self, agent: str, at_ms: int, seen_ms: int) -> bool:
        """Whether exactly this agent had a key then that is not revoked now."""
        return any(
            key.agent == agent
            and key.not_before_ms <= at_ms < key.not_after_ms
            and (key.revoked_at_ms is None or seen_ms < key.revoked_at_ms)
            for key in self._keys.values()
        )

    def judge_key(self, key_id: str, sender: str, created_ms: int, seen_ms: int) -> Reason:
        """OK, or why this key may not sign for this agent. created_ms: what the envelope claims; seen_ms: when it was
        received or stored, which is what a revocation counts from, since a thief can date an envelope back.
        """
        key = self._keys.get(key_id)
        if key is None:
            return Reason.UNKNOWN_KEY
        if key.agent not in (sender, role_of(sender)):
            return Reason.KEY_NOT_FOR_AGENT
        if key.is_revoked(seen_ms):
            return Reason.KEY_REVOKED
        if created_ms < key.not_before_ms:
            return Reason.KEY_NOT_YET_VALID
        if created_ms >= key.not_after_ms or seen_ms >= key.not_after_ms:
            return Reason.KEY_EXPIRED
        return Reason.OK


def sign_store(store: TrustStore, roots: Iterable[SigningKey]) -> bytes:
    """The signed file: JCS of a SignedTrustStore. Refuses to enrol a bad key (KeyFormatError)."""
    for record in store.agents:
        for key in record.keys:
            check_enrolment(key.key_id)
    message = pre_auth(TRUST_DOMAIN, canonical(store))
    signatures = [RootSignature(key_id=key.key_id, signature=base64url(key.sign(message))) for key in roots]
    return canonical(SignedTrustStore(store=store, signatures=signatures))


def load(data: bytes, roots: Iterable[str], *, threshold: int = 1, oldest_version: int = 1) -> Trust:
    """Verifies and indexes a signed store. roots: public root keys pinned by the caller; threshold: how many must have
    signed; oldest_version: the highest version seen so far. Raises TrustError.
    """
    if len(data) > MAX_BYTES:
        raise TrustError("malformed", f"larger than {MAX_BYTES} bytes")
    try:
        signed = msgspec.json.decode(data, type=SignedTrustStore)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise TrustError("malformed", str(error)) from error
    if canonical(signed) != data:
        raise TrustError("not_canonical", "the bytes are not the canonical form of what they say")
    message = pre_auth(TRUST_DOMAIN, canonical(signed.store))
    pinned = set(roots)
    valid = {
        entry.key_id for entry in signed.signatures if entry.key_id in pinned and _is_root_signature(entry, message)
    }
    if threshold < 1 or len(valid) < threshold:
        raise TrustError("untrusted_root", f"{len(valid)} of the {threshold} root signatures it needs")
    if signed.store.version < oldest_version:
        raise TrustError("rolled_back", f"version {signed.store.version}, but {oldest_version} was seen before")
    _check_keys(signed.store)
    return Trust(signed.store)


def _is_root_signature(entry: RootSignature, message: bytes) -> bool:
    try:
        return is_signed_by(entry.key_id, message, from_base64url(entry.signature))
    except ValueError:
        return False


def _check_keys(store: TrustStore) -> None:
    seen: set[bytes] = set()
    for record in store.agents:
        for key in record.keys:
            try:
                point = decode_public(key.key_id)  # the same key may be written as U…, A… and O…
                if point in seen:
                    raise TrustError("bad_key", f"{key.key_id} is enrolled twice")
                seen.add(point)
                check_enrolment(key.key_id)
                _enrolled(record, key)
            except (KeyFormatError, ValueError) as error:
                raise TrustError("bad_key", f"{key.key_id}: {error}") from error


def _enrolled(record: AgentRecord, key: KeyRecord) -> Enrolled:
    return Enrolled(
        agent=record.agent,
        not_before_ms=time_ms(key.not_before),
        not_after_ms=time_ms(key.not_after),
        revoked_at_ms=None if key.revoked_at is None else time_ms(key.revoked_at),
        trust_level=record.trust_level,
        capabilities=tuple(record.capabilities),
    )
