"""Signing with keys named by URI (AUD-02). `file:` here; others are one module and one row in `open_signer` each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from interlock.agents.errors import UserError

SCHEMES = ("file",)


class Signer(Struct, frozen=True):
    """scheme and key id go into what is signed for; sign: bytes → base64url."""

    scheme: str
    key_id: str
    sign: Callable[[bytes], str]


def open_signer(uri: str) -> Signer:
    """Raises UserError for an unknown scheme or an unusable key."""
    parts = urlsplit(uri)
    if parts.scheme != "file":
        known = ", ".join(f"{scheme}:" for scheme in SCHEMES)
        raise UserError("unknown_kms", f"no key store for `{parts.scheme or uri[:40]}`", f"Known: {known}", 2)
    return _file_signer(Path(parts.path))


def _file_signer(path: Path) -> Signer:
    from interlock.envelope.keys import KeyFormatError, SigningKey, base64url

    try:
        key = SigningKey.from_seed_text(path.read_text())
    except OSError as error:
        raise UserError("no_key", f"{path}: {error.strerror}", "Name a seed file: file:/path/to/key.nk") from error
    except KeyFormatError as error:
        raise UserError("bad_key", f"{path}: {error}", "Name a seed file made by `interlock init`") from error
    return Signer("ed25519-nkey", key.key_id, lambda data: base64url(key.sign(data)))
