"""A manifest read by the reader that its name calls for, and what it depends on in short."""

from __future__ import annotations

from interlock.skills.repository.manifests import reader_for
from interlock.skills.repository.model import Manifest


def read(path: str, text: str) -> Manifest:
    reader = reader_for(path)
    assert reader is not None
    return reader(path, text)


def short(manifest: Manifest) -> list[tuple[str, str, str, str]]:
    return [(entry.name, entry.version, entry.scope, entry.origin) for entry in manifest.dependencies]
