"""`interlock audit verify` of what is no bundle: an answer for every file, in bounded time and memory."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from interlock.agents.cli.entry import run
from scripts.record_history import INTO

BUNDLE = INTO / "released.json.gz"
HEAD = bytes.fromhex("1f8b08040000000002ff" + "2400494c2000")


def packed(parts: list[bytes]) -> bytes:
    """As a bundle is packed, with whatever content: its digest agrees."""
    deflate, crc, size, body = zlib.compressobj(9, zlib.DEFLATED, -15), 0, 0, b""
    for part in parts:
        body += deflate.compress(part)
        crc, size = zlib.crc32(part, crc), size + len(part)
    rest = body + deflate.flush() + struct.pack("<II", crc, size & 0xFFFFFFFF)
    return HEAD + sha256(rest).digest() + rest


def written(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


ROWS: list[tuple[str, Callable[[Path], object], int, str]] = [
    ("nothing there", lambda path: None, 1, "unreadable"),
    ("a directory", Path.mkdir, 1, "unreadable"),
    ("a FIFO that nobody writes to", os.mkfifo, 1, "not_a_file"),
    ("a device without end", lambda path: path.symlink_to("/dev/zero"), 1, "not_a_file"),
    ("empty", written(b""), 2, "not gzip with the header that bundles have"),
    ("the header alone", written(HEAD), 2, "not gzip with the header that bundles have"),
    ("text", written(b"goal: x\n"), 2, "not gzip with the header that bundles have"),
    ("a bundle packed by others", written(gzip.compress(gzip.decompress(BUNDLE.read_bytes()))), 2, "not gzip with"),
    ("a bundle unpacked", written(gzip.decompress(BUNDLE.read_bytes())), 2, "a bundle is gzip"),
    ("half a proof", written(b'{"workspace":'), 2, "malformed"),
    ("two bundles", written(BUNDLE.read_bytes() * 2), 2, "changed or cut"),
    ("a bundle and a byte", written(BUNDLE.read_bytes() + b"\0"), 2, "changed or cut"),
    ("a bomb", written(packed([b'{"manifest":"', *[b"a" * (1 << 20)] * 300])), 2, "more than 268435456 bytes unpacked"),
    ("deep", written(packed([b'{"manifest":', b"[" * 1_000_000])), 2, "recursion"),
    ("no JSON", written(packed([b"\xff\xfe"])), 2, "FAIL form"),
    ("nothing packed", written(packed([])), 2, "FAIL form"),
    ("another object", written(packed([b'{"a":1}'])), 2, "FAIL form"),
]


@pytest.mark.parametrize(("make", "code", "told"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_every_file_has_its_answer(
    make: Callable[[Path], object],
    code: int,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "file")
    assert run(["audit", "verify", "file", "--root", "OA" + "A" * 54]) == code
    said = capsys.readouterr()
    assert told in said.out + said.err
    assert "Traceback" not in said.out + said.err


def test_a_proof_needs_roots_to_be_believed_under(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "proof.json").write_bytes(b"{}")
    assert run(["audit", "verify", "proof.json"]) == 2
    assert "--root KEY" in capsys.readouterr().err
