"""Small signed documents: any change of a byte, of the key or of the kind is seen."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.envelope.keys import SigningKey, base64url
from interlock.envelope.signed_document import is_signed_document, sign_document

DOMAIN, KEY = b"interlock-test-v1", SigningKey.generate()


class Note(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    text: str
    number: int
    key_id: str = KEY.key_id
    signature: str | None = None


texts, numbers = st.text(max_size=40), st.integers(-(2**53) + 1, 2**53 - 1)


@given(texts, numbers, texts, numbers)
def test_a_signature_holds_for_its_content_only(text: str, number: int, other: str, another: int) -> None:
    note = sign_document(Note(text=text, number=number), DOMAIN, KEY)
    assert is_signed_document(note, DOMAIN)
    changed = msgspec.structs.replace(note, text=other, number=another)
    assert is_signed_document(changed, DOMAIN) == ((other, another) == (text, number))


def test_nor_for_another_kind_or_key() -> None:
    note = sign_document(Note(text="a", number=1), DOMAIN, KEY)
    assert not is_signed_document(note, b"interlock-other-v1")
    assert not is_signed_document(msgspec.structs.replace(note, key_id=SigningKey.generate().key_id), DOMAIN)
    assert not is_signed_document(msgspec.structs.replace(note, key_id="no key"), DOMAIN)


@pytest.mark.parametrize(
    "signature", [None, "", "A", "A===", "ä", base64url(b"\0" * 64), base64url(b"\0" * 63), "A" * 10_000]
)
def test_what_is_no_signature_raises_nothing(signature: str | None) -> None:
    assert not is_signed_document(Note(text="a", number=1, signature=signature), DOMAIN)
