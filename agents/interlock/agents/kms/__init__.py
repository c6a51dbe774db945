"""Signing with keys named by URI (AUD-02). `file:` here; others are one module and one row in `_OPENERS` each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from interlock.agents.errors import UserError


class Signer(Struct, frozen=True):
    """scheme and key id go into what is signed for; sign: bytes → base64url."""

    scheme: str
    key_id: str
    sign: Callable[[bytes], str]


def open_signer(uri: str) -> Signer:
    """Raises UserError for an unknown scheme or an unusable key."""
    scheme, colon, place = uri.partition(":")
    if not colon or scheme not in _OPENERS:
        known = ", ".join(f"{name}:" for name in _OPENERS)
        raise UserError("unknown_kms", f"no key store for `{scheme[:40]}`", f"Known: {known}", 2)
    return _OPENERS[scheme](place)


def _file_signer(place: str) -> Signer:
    """file:PATH or file:///PATH; every character of the path stands for itself."""
    from interlock.envelope.keys import KeyFormatError, SigningKey, base64url

    path = Path("/" + place.lstrip("/") if place.startswith("///") else place)
    try:
        key = SigningKey.from_seed_text(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        raise UserError("no_key", f"{path}: {why}", "Name a seed file: file:/path/to/key.nk") from error
    except KeyFormatError as error:
        raise UserError("bad_key", f"{path}: {error}", "Name a seed file made by `interlock init`") from error
    return Signer("ed25519-nkey", key.key_id, lambda data: base64url(key.sign(data)))


_OPENERS: dict[str, Callable[[str], Signer]] = {"file": _file_signer}
