"""Small documents that bear their own signature: orders, statements, answers. Each kind has a domain of its own, so that
none can be taken for another.
"""

from __future__ import annotations

from typing import Protocol, TypeVar, cast

import msgspec

from interlock.envelope.canonical import canonical
from interlock.envelope.keys import SigningKey, base64url, from_base64url, is_signed_by
from interlock.envelope.signing import pre_auth


class SignedDocument(Protocol):
    """A msgspec Struct with these fields. signature: base64url of Ed25519 over the rest; None: not signed yet."""

    @property
    def key_id(self) -> str: ...

    @property
    def signature(self) -> str | None: ...


Document = TypeVar("Document", bound=SignedDocument)


def sign_document(document: Document, domain: bytes, key: SigningKey) -> Document:
    """The document with its signature by key, whose id it must name. document: not signed yet."""
    return _with_signature(document, base64url(key.sign(pre_auth(domain, canonical(document)))))


def is_signed_document(document: SignedDocument, domain: bytes) -> bool:
    """Whether the signature is that of the key it names. Never raises. Whose key that is, and whether it may, is to be
    asked of the trust store.
    """
    try:
        signature = from_base64url(document.signature or "")
    except ValueError:
        return False
    return is_signed_by(document.key_id, pre_auth(domain, canonical(_with_signature(document, None))), signature)


def _with_signature(document: Document, signature: str | None) -> Document:
    return cast("Document", msgspec.structs.replace(cast("msgspec.Struct", document), signature=signature))
