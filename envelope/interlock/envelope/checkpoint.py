"""Checkpoints: the signed root of a log, as text (C2SP tlog-checkpoint on signed-note). Pure.

    <origin>
    <size in decimal>
    <root, base64>

    — <name of the key> <base64 of key hash and signature>

The note's text is signed as it stands. It holds line breaks and begins with no 0xFF, so it can pass neither for a nonce
of a NATS login nor for anything else that Interlock signs (signing.py).
"""

from __future__ import annotations

import base64
import binascii
import re
from hashlib import sha256

from msgspec import Struct

from interlock.envelope.keys import SigningKey, decode_public, is_signed_by
from interlock.envelope.merkle import HASH_BYTES

MAX_BYTES = 16 << 10
MAX_SIZE = 2**53 - 1
_ED25519 = b"\x01"
_SIZE = re.compile(r"0|[1-9][0-9]{0,15}")
_NAME = re.compile(r"[^\s+\u0000-\u001f\u007f]{1,255}")


class CheckpointError(ValueError):
    """The text is no checkpoint, or nobody trusted signed it. reason: malformed, untrusted, wrong_origin."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"checkpoint refused ({reason}): {detail}")
        self.reason = reason


class Checkpoint(Struct, frozen=True):
    """A log's size and root at one moment. origin: which log."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey, name: str) -> str:
    """The signed note. name: of the key, without space or `+`. Raises ValueError."""
    if not _NAME.fullmatch(name) or not _NAME.fullmatch(checkpoint.origin):
        raise ValueError(f"neither a key's name nor an origin: {name[:64]!r}, {checkpoint.origin[:64]!r}")
    return sign_note(checkpoint.text, key, name)


def sign_note(text: str, key: SigningKey, name: str) -> str:
    """text: ends with a line break."""
    blob = key_hash(name, key.key_id) + key.sign(text.encode())
    return f"{text}\n\u2014 {name} {base64.b64encode(blob).decode()}\n"


def open_checkpoint(note: bytes, keys: dict[str, str], origin: str) -> Checkpoint:
    """keys: name → public key of whoever may sign; one good signature of theirs suffices, a bad one of theirs is fatal,
    and those of others are passed over. Raises CheckpointError.
    """
    text = open_note(note, keys)
    lines = text.split("\n")
    if len(lines) < 4 or not _SIZE.fullmatch(lines[1]) or int(lines[1]) > MAX_SIZE:
        raise CheckpointError("malformed", "not origin, size and root on lines of their own")
    root = _from_base64(lines[2])
    if len(root) != HASH_BYTES:
        raise CheckpointError("malformed", f"a root of {len(root)} bytes, not {HASH_BYTES}")
    if lines[0] != origin:
        raise CheckpointError("wrong_origin", f"it is of the log {lines[0][:80]!r}, not {origin!r}")
    checkpoint = Checkpoint(lines[0], int(lines[1]), root)
    if checkpoint.text != text:
        raise CheckpointError("malformed", "extension lines, which this log does not write")
    return checkpoint


def open_note(note: bytes, keys: dict[str, str]) -> str:
    """The signed text of a note (C2SP signed-note). Raises CheckpointError."""
    if len(note) > MAX_BYTES:
        raise CheckpointError("malformed", f"larger than {MAX_BYTES} bytes")
    try:
        whole = note.decode()
    except UnicodeDecodeError as error:
        raise CheckpointError("malformed", "not UTF-8") from error
    text, blank, tail = whole.rpartition("\n\n")
    if not blank or not tail.endswith("\n") or any(ord(char) < 32 and char != "\n" for char in whole):
        raise CheckpointError("malformed", "not text, an empty line and signature lines")
    text += "\n"
    good = 0
    for line in tail[:-1].split("\n"):
        name, blob = _signature_line(line)
        key_id = keys.get(name)
        if key_id is None or blob[:4] != key_hash(name, key_id):
            continue
        if not is_signed_by(key_id, text.encode(), blob[4:]):
            raise CheckpointError("untrusted", f"the signature of {name} is not its own")
        good += 1
    if not good:
        raise CheckpointError("untrusted", "no signature of a key that is trusted")
    return text


def key_hash(name: str, key_id: str) -> bytes:
    """The four bytes that tell which key signed."""
    return sha256(name.encode() + b"\n" + _ED25519 + decode_public(key_id)).digest()[:4]


def _signature_line(line: str) -> tuple[str, bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "\u2014" or not _NAME.fullmatch(parts[1]):
        raise CheckpointError("malformed", "a signature line that is none")
    blob = _from_base64(parts[2])
    if len(blob) < 5:
        raise CheckpointError("malformed", "a signature line without a signature")
    return parts[1], blob


def _from_base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CheckpointError("malformed", "not base64") from error
    if base64.b64encode(data).decode() != text:
        raise CheckpointError("malformed", "not canonical base64")
    return data
