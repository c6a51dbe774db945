"""The deliverable: one zip with a signed manifest of exactly what is in it. The same files give the same bytes, on every
machine: members are stored, not deflated, since what a deflater makes of them is up to its library. So a deliverable
that differs in any byte from what sealing its members makes is not whole.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig.json"
PAYLOAD_TYPE = "application/vnd.interlock.deliverable+json"
MAX_MEMBERS = 1_000
MAX_BYTES = 256 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)

Sign = Callable[[bytes], tuple[str, str]]
Verify = Callable[[str, bytes, str], bool]


def seal_bundle(files: Mapping[str, Path], manifest: bytes, sign: Sign) -> bytes:
    """The zip. sign: bytes → (key id, signature text), called once with the manifest's bytes."""
    members = {name: path.read_bytes() for name, path in files.items()}
    members[MANIFEST] = manifest
    members[SIGNATURE] = _envelope(*sign(manifest))
    return _zipped(members)


def check_bundle(path: Path, verify: Verify) -> list[str]:
    """Every problem of a deliverable, empty if it is whole. verify: (key id, manifest, signature) → is it theirs."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return ["it is larger than it may be"]
        data = path.read_bytes()
        members = _members(data)
        signature = json.loads(members[SIGNATURE])["signatures"][0]
        wanted = {str(entry["name"]): entry for entry in json.loads(members[MANIFEST])["files"]}
        key_id, text = str(signature["keyid"]), str(signature["sig"])
    except (
        OSError,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        LookupError,
        TypeError,
        ValueError,
        RuntimeError,
    ) as error:
        return [f"it cannot be read: {type(error).__name__}: {error}"]
    problems = [] if verify(key_id, members[MANIFEST], text) else ["the manifest's signature is not valid"]
    differing = sorted(set(members) ^ {*wanted, MANIFEST, SIGNATURE})
    problems += [f"{name}: {'not in the manifest' if name in members else 'missing'}" for name in differing]
    problems += [f"{name}: differs from the manifest" for name in wanted if _differs(members.get(name), wanted[name])]
    if not problems and (members[SIGNATURE] != _envelope(key_id, text) or data != _zipped(members)):
        problems.append("it is not written as a deliverable is: something was changed around the files")
    return problems


def _differs(data: bytes | None, entry: dict[str, Any]) -> bool:
    told = (entry.get("sha256"), entry.get("size"))
    return data is not None and (hashlib.sha256(data).hexdigest(), len(data)) != told


def _envelope(key_id: str, signature: str) -> bytes:
    value = {"payloadType": PAYLOAD_TYPE, "signatures": [{"keyid": key_id, "sig": signature}]}
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _zipped(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o100644 << 16
            entry.create_system = 3
            archive.writestr(entry, members[name], zipfile.ZIP_STORED)
    return buffer.getvalue()


def _members(data: bytes) -> dict[str, bytes]:
    """What a zip holds. Raises ValueError where it would unpack to more than it may, and whatever zipfile raises."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        if len(entries) > MAX_MEMBERS or sum(entry.file_size for entry in entries) > MAX_BYTES:
            raise ValueError("it unpacks to more than it may")
        if len({entry.filename for entry in entries}) != len(entries):
            raise ValueError("a member is there twice")
        return {entry.filename: archive.read(entry) for entry in entries}
