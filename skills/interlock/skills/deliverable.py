"""The deliverable: one zip with a signed manifest of exactly what is in it. The same files give the same bytes."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

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
    key_id, signature = sign(manifest)
    envelope = {"payloadType": PAYLOAD_TYPE, "signatures": [{"keyid": key_id, "sig": signature}]}
    members = {name: path.read_bytes() for name, path in files.items()}
    members[MANIFEST] = manifest
    members[SIGNATURE] = json.dumps(envelope, sort_keys=True, separators=(",", ":")).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o100644 << 16
            entry.create_system = 3
            archive.writestr(entry, members[name], zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()


def check_bundle(path: Path, verify: Verify) -> list[str]:
    """Every problem of a deliverable, empty if it is whole. verify: (key id, manifest, signature) → is it theirs."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_MEMBERS or sum(entry.file_size for entry in entries) > MAX_BYTES:
                return ["it unpacks to more than it may"]
            names = [entry.filename for entry in entries]
            if len(set(names)) != len(names):
                return ["a member is there twice"]
            members = {entry.filename: archive.read(entry) for entry in entries}
        signature = json.loads(members[SIGNATURE])["signatures"][0]
        listed = json.loads(members[MANIFEST])["files"]
        key_id, text = str(signature["keyid"]), str(signature["sig"])
    except (OSError, zipfile.BadZipFile, KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        return [f"it cannot be read: {type(error).__name__}: {error}"]
    problems = [] if verify(key_id, members[MANIFEST], text) else ["the manifest's signature is not valid"]
    wanted = {str(entry.get("name")): entry for entry in listed}
    differing = sorted(set(members) ^ {*wanted, MANIFEST, SIGNATURE})
    problems += [f"{name}: {'not in the manifest' if name in members else 'missing'}" for name in differing]
    for name, entry in wanted.items():
        data = members.get(name)
        told = (entry.get("sha256"), entry.get("size"))
        if data is not None and (hashlib.sha256(data).hexdigest(), len(data)) != told:
            problems.append(f"{name}: differs from the manifest")
    return problems
