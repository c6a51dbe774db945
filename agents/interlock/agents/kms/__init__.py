"""Signing with keys named by URI (AUD-02): `file:`, `awskms:`, `gcpkms:`, `hashivault:`, one module each."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from interlock.agents.errors import UserError
from interlock.agents.kms.signatures import Signer as Signer
from interlock.agents.kms.signatures import checked

# Scheme of the URI → module with `open_key(place) -> Signer`. Imported when asked for: cloud libraries are heavy.
_MODULES = {
    "file": "interlock.agents.kms.file_key",
    "awskms": "interlock.agents.kms.aws",
    "gcpkms": "interlock.agents.kms.gcp",
    "hashivault": "interlock.agents.kms.vault",
}


def open_signer(uri: str) -> Signer:
    """Raises UserError for an unknown scheme, a missing extra, or an unusable key. What the signer's `sign` gives has
    been verified with the public key it was opened with; it raises UserError too.
    """
    scheme, colon, place = uri.partition(":")
    if not colon or scheme not in _MODULES:
        known = ", ".join(f"{name}:" for name in _MODULES)
        raise UserError("unknown_kms", f"no key store for `{scheme[:40]}`", f"Known: {known}", 2)
    open_key: Callable[[str], Signer] = import_module(_MODULES[scheme]).open_key
    return checked(open_key(place))
