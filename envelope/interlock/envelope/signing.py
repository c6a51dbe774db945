"""Signing: Ed25519 over a domain-separated pre-authentication encoding (in the manner of DSSE's PAE) of the JCS bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec
from msgspec import UNSET

from interlock.envelope.canonical import canonical
from interlock.envelope.ids import sha256_hex
from interlock.envelope.keys import SigningKey, base64url, from_base64url, is_signed_by
from interlock.envelope.model import Attestation, Envelope

# A NATS server lets a client sign a nonce of its own choosing at login; nonces are printable, so no nonce can begin
# with the byte 0xFF, and a signature made at login can never pass for one of ours.
ENVELOPE_DOMAIN = b"\xffinterlock-envelope-v1"
STATEMENT_DOMAIN = b"\xffinterlock-statement-v1"
RECORD_DOMAIN = b"\xffinterlock-record-v1"
TRUST_DOMAIN = b"\xffinterlock-trust-v1"
BUNDLE_DOMAIN = b"\xffinterlock-bundle-v1"
_AFTER_SIGNATURE = b'"spanId":"'  # the key that follows `signature` in the canonical form
DELIVERABLE_DOMAIN = b"\xffinterlock-deliverable-v1"
CONTRACT_DOMAIN = b"\xffinterlock-contract-v1"
CHANGE_DOMAIN = b"\xffinterlock-change-v1"
CONTROL_DOMAIN = b"\xffinterlock-control-v1"
DEVIATION_DOMAIN = b"\xffinterlock-deviation-v1"
REDRIVE_DOMAIN = b"\xffinterlock-redrive-v1"
LOGIN_DOMAIN = b"\xffinterlock-login-v1"
RESET_DOMAIN = b"\xffinterlock-reset-v1"


class Sealed(msgspec.Struct, frozen=True):
    """A signed envelope, its wire bytes and their SHA-256."""

    envelope: Envelope
    wire: bytes
    digest: str


def pre_auth(domain: bytes, body: bytes) -> bytes:
    """The bytes that are signed: domain, space, length of the body in decimal, space, body."""
    return b"%b %d %b" % (domain, len(body), body)


def signed_part(envelope: Envelope) -> bytes:
    """The pre-authentication encoding of the envelope without its `signature`."""
    return pre_auth(ENVELOPE_DOMAIN, canonical(msgspec.structs.replace(envelope, signature=UNSET)))


def signed_part_of(wire: bytes, signature: str) -> bytes:
    """The same, cut out of the canonical wire bytes of an envelope with this signature instead of encoded anew (2 us
    of a hop). Raises ValueError if they are not such bytes.

    Keys are sorted, so after the envelope's own signature stand only spanId … workspace: short texts, in which no
    unescaped quote can stand, and a watermark, whose signature is followed by `timestamp`. The last match is ours.
    """
    head, member, tail = wire.rpartition(b'"signature":"%b",%b' % (signature.encode(), _AFTER_SIGNATURE))
    if not member:
        raise ValueError("no canonical envelope with this signature")
    return pre_auth(ENVELOPE_DOMAIN, head + _AFTER_SIGNATURE + tail)


def seal(envelope: Envelope, key: SigningKey) -> Sealed:
    """Signs: sets keyId and signature and gives the wire bytes."""
    bare = envelope
    if envelope.key_id != key.key_id or envelope.signature is not UNSET:
        bare = msgspec.structs.replace(envelope, key_id=key.key_id, signature=UNSET)
    body = canonical(bare)
    signature = base64url(key.sign(pre_auth(ENVELOPE_DOMAIN, body)))
    # Put in where its key sorts, by the same reasoning as in signed_part_of.
    head, member, tail = body.rpartition(_AFTER_SIGNATURE)
    wire = b'%b"signature":"%b",%b%b' % (head, signature.encode(), member, tail)
    return Sealed(msgspec.structs.replace(bare, signature=signature), wire, sha256_hex(wire))


def has_valid_signature(envelope: Envelope) -> bool:
    """Whether the envelope's signature is that of its keyId over its content. Never raises."""
    if envelope.signature is UNSET:
        return False
    try:
        signature = from_base64url(envelope.signature)
    except ValueError:
        return False
    return is_signed_by(envelope.key_id, signed_part(envelope), signature)


class Signing(Protocol):
    """Whatever signs with Ed25519 under an NKey's name: a key that is held here, or one in a key store."""

    @property
    def key_id(self) -> str: ...

    @property
    def sign(self) -> Callable[[bytes], bytes]: ...


def attest(statement: dict[str, object], key: Signing) -> Attestation:
    """Signs an in-toto Statement."""
    signature = base64url(key.sign(pre_auth(STATEMENT_DOMAIN, canonical(statement))))
    return Attestation(statement=statement, key_id=key.key_id, signature=signature)


def is_valid_attestation(attestation: Attestation) -> bool:
    """Whether the attestation's signature is that of its keyId. Never raises."""
    try:
        message = pre_auth(STATEMENT_DOMAIN, canonical(attestation.statement))
        return is_signed_by(attestation.key_id, message, from_base64url(attestation.signature))
    except (ValueError, TypeError):
        return False
