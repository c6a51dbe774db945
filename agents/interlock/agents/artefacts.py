"""Artefacts: files in the object store under the SHA-256 of their content, checked on every way in and out."""

from __future__ import annotations

import mimetypes
from pathlib import Path

import anyio

from interlock.bus.errors import NotFound, Refused
from interlock.bus.transport import Transport
from interlock.envelope.ids import sha256_hex
from interlock.envelope.payloads import ArtefactRef

BUCKET = "artifacts"
MAX_BYTES = 64 << 20
_KNOWN = {
    ".md": "text/markdown",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".jsonl": "application/jsonl",
}


async def put_artefact(transport: Transport, name: str, data: bytes) -> ArtefactRef:
    """Stores the content (once, whatever its names) and gives its reference. Raises Refused beyond MAX_BYTES."""
    if len(data) > MAX_BYTES:
        raise Refused(f"artefact {name} has {len(data)} bytes; at most {MAX_BYTES}")
    digest = sha256_hex(data)
    await transport.put_object(BUCKET, digest, data)
    return ArtefactRef(name=name, digest=digest, size=len(data), media_type=media_type(name))


async def get_artefact(transport: Transport, ref: ArtefactRef) -> bytes:
    """The content. Raises NotFound, also when what is stored is not what the reference says."""
    data = await transport.get_object(BUCKET, ref.digest)
    if sha256_hex(data) != ref.digest:
        raise NotFound(f"artefact {ref.name}: the store holds other bytes than {ref.digest}")
    return data


class ArtefactCache:
    """Content on the local disk, by digest, so that a file used by many tasks is fetched once."""

    def __init__(self, transport: Transport, directory: Path) -> None:
        self._transport = transport
        self._directory = directory

    async def path_of(self, ref: ArtefactRef) -> Path:
        """A read-only local copy."""
        path = self._directory / ref.digest
        if not await anyio.Path(path).exists():
            data = await get_artefact(self._transport, ref)
            partial = self._directory / f".{ref.digest}.{id(data)}"
            await anyio.Path(partial).write_bytes(data)
            await anyio.Path(partial).chmod(0o444)
            await anyio.Path(partial).rename(path)
        return path


def media_type(name: str) -> str:
    """By file name."""
    known = _KNOWN.get(Path(name).suffix)
    return known or mimetypes.guess_type(name)[0] or "application/octet-stream"
