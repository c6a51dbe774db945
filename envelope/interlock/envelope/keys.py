"""Ed25519 keys in the NKey text form, so that one seed logs an agent in to NATS and signs its envelopes (ENV-03).

Form (nats-io/nkeys): base32 without padding of prefix byte(s), 32 key bytes, CRC-16/XMODEM little-endian.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from functools import lru_cache

from nacl._sodium import ffi, lib
from nacl.bindings import crypto_core_ed25519_is_valid_point, crypto_sign_seed_keypair

_SEED = 18 << 3
_BYTES = ffi.typeof("unsigned char[]")
_KINDS = {"U": 20 << 3, "A": 0, "O": 14 << 3}
_PUBLIC = re.compile(r"[UAO][A-Z2-7]{55}")
_SEED_TEXT = re.compile(r"S[UAO][A-Z2-7]{56}")
_TO_URL = bytes.maketrans(b"+/", b"-_")
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")


class KeyFormatError(ValueError):
    """Text that is no NKey of the wanted kind; the text itself is never part of the message."""


class SigningKey:
    """A private key. kind: `U` for agents and humans, `O` for roots. Its repr does not show the seed."""

    __slots__ = ("_secret", "_seed", "key_id", "kind")

    def __init__(self, seed: bytes, kind: str = "U") -> None:
        public, self._secret = crypto_sign_seed_keypair(seed)
        self._seed = seed
        self.kind = kind
        self.key_id = encode_public(public, kind)

    @classmethod
    def generate(cls, kind: str = "U") -> SigningKey:
        return cls(os.urandom(32), kind)

    @classmethod
    def from_seed_text(cls, text: str) -> SigningKey:
        """From `SU…`, `SO…` or `SA…`; raises KeyFormatError."""
        text = text.strip()
        if not _SEED_TEXT.fullmatch(text):
            raise KeyFormatError("not an NKey seed (58 letters beginning with SU, SO or SA)")
        raw = _decode(text)
        kind = text[1]
        head = (raw[0] & 0xF8, (raw[0] & 7) << 5 | (raw[1] & 0xF8) >> 3)
        if head != (_SEED, _KINDS[kind]):
            raise KeyFormatError("not an NKey seed: wrong prefix")
        return cls(raw[2:], kind)

    def seed_text(self) -> str:
        """The seed as NATS tools read it. A secret."""
        kind = _KINDS[self.kind]
        return _encode(bytes([_SEED | kind >> 5, (kind & 31) << 3]) + self._seed)

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of the signature."""
        # libsodium's own function, as in is_signed_by.
        signed = ffi.new(_BYTES, len(message) + 64)
        if lib.crypto_sign(signed, ffi.NULL, message, len(message), self._secret) != 0:
            raise RuntimeError("libsodium did not sign")
        return bytes(ffi.buffer(signed, 64))

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id})"


class HeldKey(SigningKey):
    """A key that may be exchanged for its successor while it is held: whoever signs next signs with that one."""

    __slots__ = ()

    def __init__(self, key: SigningKey) -> None:
        super().__init__(key._seed, key.kind)

    def become(self, key: SigningKey) -> None:
        self._seed, self._secret, self.kind, self.key_id = key._seed, key._secret, key.kind, key.key_id


def encode_public(public: bytes, kind: str = "U") -> str:
    """32 bytes → `U…`, 56 letters."""
    return _encode(bytes([_KINDS[kind]]) + public)


@lru_cache(maxsize=4096)
def decode_public(key_id: str) -> bytes:
    """`U…` → 32 bytes; raises KeyFormatError."""
    if not _PUBLIC.fullmatch(key_id):
        raise KeyFormatError("not an NKey public key (56 letters beginning with U, A or O)")
    raw = _decode(key_id)
    if raw[0] != _KINDS[key_id[0]]:
        raise KeyFormatError("not an NKey public key: wrong prefix")
    return raw[1:]


def check_enrolment(key_id: str) -> None:
    """Raises KeyFormatError for keys that must never be trusted: small order, not canonical, not on the curve."""
    if not crypto_core_ed25519_is_valid_point(decode_public(key_id)):
        raise KeyFormatError("this public key is of small order or not a canonical curve point")


def is_signed_by(key_id: str, message: bytes, signature: bytes) -> bool:
    """Whether signature is the key's Ed25519 signature (RFC 8032) of message. Never raises."""
    try:
        # libsodium's own function, which gives out nothing for NULL: PyNaCl's would copy the message twice (2 us).
        signed = signature + message
        wrong = lib.crypto_sign_open(ffi.NULL, ffi.NULL, signed, len(signed), decode_public(key_id))
    except (ValueError, TypeError):
        return False
    return wrong == 0 and len(signature) == 64


def base64url(data: bytes) -> str:
    """base64url without padding (RFC 4648, section 5)."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL, b"=").decode()


def from_base64url(text: str) -> bytes:
    """The inverse; raises ValueError for padding, foreign letters or dangling bits, so one value has one text."""
    standard = text.encode().translate(_TO_STANDARD) + b"=" * (-len(text) % 4)
    data = binascii.a2b_base64(standard, strict_mode=True)
    if base64url(data) != text:
        raise ValueError("not canonical base64url")
    return data


def _encode(raw: bytes) -> str:
    return base64.b32encode(raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")).decode().rstrip("=")


def _decode(text: str) -> bytes:
    data = base64.b32decode(text + "=" * (-len(text) % 8))
    raw, checksum = data[:-2], data[-2:]
    if binascii.crc_hqx(raw, 0).to_bytes(2, "little") != checksum or _encode(raw) != text:
        raise KeyFormatError("an NKey with a wrong checksum: it was mistyped or cut")
    return raw
