"""Sealing the deliverable: the zip of everything, with the manifest signed by the executor's key (agents.md)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from interlock.envelope.keys import SigningKey, base64url
from interlock.envelope.signing import DELIVERABLE_DOMAIN, pre_auth
from interlock.skills.deliverable import seal_bundle

MANIFEST = "manifest.json"
BUNDLE = "deliverable_bundle.zip"


class _Entry(Struct):
    name: str


class _Manifest(Struct):
    files: list[_Entry]


def seal_deliverable(files: Mapping[str, Path], key: SigningKey) -> bytes:
    """The zip of exactly what the manifest lists, which the skill wrote and is among the files. Raises KeyError if it
    or a file it lists is not there.
    """
    manifest = files[MANIFEST].read_bytes()
    listed = [entry.name for entry in msgspec.json.decode(manifest, type=_Manifest).files]

    def sign(data: bytes) -> tuple[str, str]:
        return key.key_id, base64url(key.sign(pre_auth(DELIVERABLE_DOMAIN, data)))

    members = {name: files[name] for name in listed}
    return seal_bundle(members, manifest, sign)
