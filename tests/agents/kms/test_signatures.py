"""The closed list of schemes: what verifies, and every way not to. ECDSA against the library's own vectors made here,
Ed25519 against RFC 8032.
"""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.agents.errors import UserError
from interlock.agents.kms.signatures import ECDSA, ED25519, ecdsa_signer, is_valid, spki_id
from interlock.envelope.keys import encode_public

# RFC 6979, appendix A.2.5: P-256, SHA-256, message "sample".
UX = 0x60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6
UY = 0x7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299
R = 0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716
S = 0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8
MESSAGE = b"sample"
SPKI = (
    bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200") + b"\x04" + UX.to_bytes(32) + UY.to_bytes(32)
)
PUBLIC, KEY_ID = base64.b64encode(SPKI).decode(), spki_id(SPKI)
SIGNATURE = b"\x30\x46\x02\x21\x00" + R.to_bytes(32) + b"\x02\x21\x00" + S.to_bytes(32)


def test_the_vector_of_rfc_6979() -> None:
    assert is_valid(ECDSA, KEY_ID, PUBLIC, MESSAGE, SIGNATURE)
    assert not is_valid(ECDSA, KEY_ID, PUBLIC, b"test", SIGNATURE)


def test_the_vector_of_rfc_8032() -> None:
    """Section 7.1, test 2."""
    public = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    key_id = encode_public(public)
    assert is_valid(ED25519, key_id, "", b"\x72", signature)
    assert not is_valid(ED25519, key_id, "", b"\x73", signature)
    assert not is_valid(ED25519, key_id, "x", b"\x72", signature), "a public key beside it would be free bytes"


@pytest.mark.parametrize(
    ("scheme", "key_id", "public"),
    [
        ("", KEY_ID, PUBLIC),
        ("ECDSA-P256-SHA256", KEY_ID, PUBLIC),
        ("none", KEY_ID, PUBLIC),
        (ED25519, KEY_ID, PUBLIC),
        (ECDSA, "", PUBLIC),
        (ECDSA, KEY_ID[:-1], PUBLIC),
        (ECDSA, KEY_ID, ""),
        (ECDSA, KEY_ID, "?"),
        (ECDSA, KEY_ID, PUBLIC + "\n"),
        (ECDSA, KEY_ID, PUBLIC[:-4]),
    ],
)
def test_nothing_else_verifies(scheme: str, key_id: str, public: str) -> None:
    assert not is_valid(scheme, key_id, public, MESSAGE, SIGNATURE)


@given(st.integers(0, len(SIGNATURE) - 1), st.integers(1, 255))
def test_no_changed_signature_verifies(place: int, change: int) -> None:
    changed = SIGNATURE[:place] + bytes([SIGNATURE[place] ^ change]) + SIGNATURE[place + 1 :]
    assert not is_valid(ECDSA, KEY_ID, PUBLIC, MESSAGE, changed)


@given(st.binary(max_size=80))
def test_no_error_escapes(data: bytes) -> None:
    assert not is_valid(ECDSA, KEY_ID, PUBLIC, MESSAGE, data)
    with pytest.raises(UserError, match="bad_key"):
        ecdsa_signer(data, lambda message: message)
