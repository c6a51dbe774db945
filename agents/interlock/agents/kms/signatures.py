"""The signature schemes that bundles may carry, and how each is verified. A closed list; nothing is negotiated.

- `ed25519-nkey`: Ed25519 (RFC 8032) over the message; the key id is the public key itself, as an NKey.
- `ecdsa-p256-sha256`: ECDSA over SHA-256 of the message (FIPS 186-5), signature in DER; the key id is
  `SHA256:` + base64url of the SHA-256 of the public key's SubjectPublicKeyInfo, which the bundle carries beside it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from hashlib import sha256

from msgspec import Struct
from msgspec.structs import replace

from interlock.agents.errors import UserError
from interlock.envelope.keys import base64url, is_signed_by

ED25519 = "ed25519-nkey"
ECDSA = "ecdsa-p256-sha256"
SCHEMES = (ED25519, ECDSA)
# AWS signs raw messages of at most this many bytes; a manifest is far smaller.
MAX_MESSAGE_BYTES = 4096


class Signer(Struct, frozen=True):
    """scheme, key_id and public_key (SubjectPublicKeyInfo in base64, empty for NKeys) go into what is signed; sign:
    bytes → the signature's bytes.
    """

    scheme: str
    key_id: str
    public_key: str
    sign: Callable[[bytes], bytes]


def checked(signer: Signer) -> Signer:
    """The same signer, whose signatures have been verified before anybody relies on them."""

    def sign(message: bytes) -> bytes:
        if len(message) > MAX_MESSAGE_BYTES:
            raise UserError("too_large", f"{len(message)} bytes to sign, at most {MAX_MESSAGE_BYTES}")
        signature = signer.sign(message)
        if not is_valid(signer.scheme, signer.key_id, signer.public_key, message, signature):
            detail = f"the key store's signature does not verify with {signer.key_id}"
            raise UserError("bad_signature", detail, "Is it the key and the version that you named?")
        return signature

    return replace(signer, sign=sign)


def ecdsa_signer(spki: bytes, sign: Callable[[bytes], bytes]) -> Signer:
    """spki: DER. Raises UserError for a key of another kind."""
    if _p256(spki) is None:
        raise UserError("bad_key", "the key is not ECDSA on P-256", "Use EC_SIGN_P256_SHA256 / ECC_NIST_P256", 2)
    return Signer(ECDSA, spki_id(spki), base64.b64encode(spki).decode(), sign)


def spki_id(spki: bytes) -> str:
    return "SHA256:" + base64url(sha256(spki).digest())


def is_valid(scheme: str, key_id: str, public_key: str, message: bytes, signature: bytes) -> bool:
    """Whether this is the key's signature of message. Never raises."""
    if scheme == ED25519:
        return not public_key and is_signed_by(key_id, message, signature)
    return scheme == ECDSA and _is_valid_ecdsa(key_id, public_key, message, signature)


def _is_valid_ecdsa(key_id: str, public_key: str, message: bytes, signature: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        spki = base64.b64decode(public_key, validate=True)
    except (binascii.Error, ValueError):
        return False
    key = _p256(spki)
    if key is None or spki_id(spki) != key_id or base64.b64encode(spki).decode() != public_key:
        return False
    try:
        key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _p256(spki: bytes):  # type: ignore[no-untyped-def]  # the library is imported only where such a key is used
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        key = load_der_public_key(spki)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1) else None
