"""Sealing the deliverable: the zip of everything, with the manifest signed by the executor's key (agents.md)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from interlock.envelope.keys import SigningKey, base64url
from interlock.envelope.signing import DELIVERABLE_DOMAIN, pre_auth
from interlock.skills.deliverable import seal_bundle

MANIFEST = "manifest.json"
BUNDLE = "deliverable_bundle.zip"


def seal_deliverable(files: Mapping[str, Path], key: SigningKey) -> bytes:
    """The zip. files: every member by name, the manifest that the skill wrote among them. Raises KeyError without."""
    manifest = files[MANIFEST].read_bytes()

    def sign(data: bytes) -> tuple[str, str]:
        return key.key_id, base64url(key.sign(pre_auth(DELIVERABLE_DOMAIN, data)))

    members = {name: path for name, path in files.items() if name != MANIFEST}
    return seal_bundle(members, manifest, sign)
