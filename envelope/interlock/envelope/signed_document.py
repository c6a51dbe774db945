"""Small documents that bear their own signature: orders, statements, answers. Each kind has a domain of its own, so that
none can be taken for another.
"""

from __future__ import annotations

from typing import Protocol, TypeVar, cast

import msgspec

from interlock.envelope.amounts import time_ms
from interlock.envelope.canonical import canonical
from interlock.envelope.keys import SigningKey, base64url, from_base64url, is_signed_by
from interlock.envelope.signing import pre_auth
from interlock.envelope.trust import Trust
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import Checked


class SignedDocument(Protocol):
    """A msgspec Struct with these fields. signature: base64url of Ed25519 over the rest; None: not signed yet."""

    @property
    def key_id(self) -> str: ...

    @property
    def signature(self) -> str | None: ...


class GivenDocument(SignedDocument, Protocol):
    """One that says who gave it, and when."""

    @property
    def by(self) -> str: ...

    @property
    def at(self) -> str: ...


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


def check_signer(document: GivenDocument, domain: bytes, trust: Trust, seen_ms: int) -> Checked:
    """Whether the key that signed it might sign then for who gave it, and did. seen_ms: when it was received or, if it was,
    stored. Whether he may give it, and here, is another question.
    """
    reason = trust.judge_key(document.key_id, document.by, time_ms(document.at), seen_ms)
    if reason is not Reason.OK:
        return Checked(reason, f"the key may not sign for {document.by} now")
    if not is_signed_document(document, domain):
        return Checked(Reason.BAD_SIGNATURE, f"the signature is not that of {document.by}")
    return Checked(Reason.OK)


def _with_signature(document: Document, signature: str | None) -> Document:
    return cast("Document", msgspec.structs.replace(cast("msgspec.Struct", document), signature=signature))
