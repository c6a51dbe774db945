"""Checkpoints as signed notes: the format's own example, and every way to break one (AUD-01)."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.envelope.checkpoint import (
    MAX_BYTES,
    Checkpoint,
    CheckpointError,
    key_hash,
    open_checkpoint,
    open_note,
    sign_checkpoint,
    sign_note,
)
from interlock.envelope.keys import SigningKey, encode_public
from interlock.envelope.merkle import EMPTY_ROOT

KEY, OTHER = SigningKey(bytes(32)), SigningKey(bytes([1]) * 32)
ORIGIN = "interlock/default"
CHECKPOINT = Checkpoint(ORIGIN, 7, EMPTY_ROOT)
NOTE = sign_checkpoint(CHECKPOINT, KEY, "auditor").encode()
KEYS = {"auditor": KEY.key_id}


def test_the_example_of_the_note_package_of_go() -> None:
    """golang.org/x/mod/sumdb/note, its example: a key, a text and a signature that others made."""
    public = base64.b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")[1:]
    name, key_id = "PeterNeumann", encode_public(public)
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    line = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    note = f"{text}\n\u2014 {name} {line}\n".encode()
    assert key_hash(name, key_id).hex() == "c74f20a3"
    assert open_note(note, {name: key_id}) == text


def test_the_form() -> None:
    blob = base64.b64encode(key_hash("auditor", KEY.key_id) + KEY.sign(CHECKPOINT.text.encode())).decode()
    assert NOTE.decode() == (
        f"interlock/default\n7\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n\u2014 auditor {blob}\n"
    )
    assert open_checkpoint(NOTE, KEYS, ORIGIN) == CHECKPOINT


def test_signatures_of_others_are_passed_over() -> None:
    both = NOTE + sign_checkpoint(CHECKPOINT, OTHER, "witness").encode().split(b"\n\n")[1]
    assert open_checkpoint(both, KEYS, ORIGIN) == CHECKPOINT
    assert open_checkpoint(both, {"witness": OTHER.key_id}, ORIGIN) == CHECKPOINT
    assert open_checkpoint(both, {**KEYS, "witness": OTHER.key_id}, ORIGIN) == CHECKPOINT


def of_text(text: str) -> bytes:
    return sign_note(text, KEY, "auditor").encode()


ROOT = base64.b64encode(EMPTY_ROOT).decode()


@pytest.mark.parametrize(
    ("note", "reason"),
    [
        (b"", "malformed"),
        (b"\xff", "malformed"),
        (NOTE + b" " * MAX_BYTES, "malformed"),
        (NOTE[:-1], "malformed"),
        (NOTE + b"\n", "malformed"),
        (NOTE.replace(b"\n\n", b"\n"), "malformed"),
        (NOTE.replace("\u2014".encode(), b"-"), "malformed"),
        (NOTE.replace(b" auditor ", b"  auditor "), "malformed"),
        (NOTE.replace(b"auditor", b"audi+tor"), "malformed"),
        (NOTE.replace(b"7\n", b"7\t\n"), "malformed"),
        (NOTE[:-2] + b"\n", "malformed"),
        (CHECKPOINT.text.encode() + "\n\u2014 auditor AAAA\n".encode(), "malformed"),
        (NOTE.replace(b"\n7\n", b"\n8\n"), "untrusted"),
        (sign_checkpoint(CHECKPOINT, OTHER, "auditor").encode(), "untrusted"),
        (sign_checkpoint(CHECKPOINT, KEY, "somebody").encode(), "untrusted"),
        (of_text(f"{ORIGIN}\n07\n{ROOT}\n"), "malformed"),
        (of_text(f"{ORIGIN}\n-7\n{ROOT}\n"), "malformed"),
        (of_text(f"{ORIGIN}\n9999999999999999\n{ROOT}\n"), "malformed"),
        (of_text(f"{ORIGIN}\n7\n{ROOT[:-2]}\n"), "malformed"),
        (of_text(f"{ORIGIN}\n7\nAAAA\n"), "malformed"),
        (of_text(f"{ORIGIN}\n7\n"), "malformed"),
        (of_text(f"{ORIGIN}\n7\n{ROOT}\nmore\n"), "malformed"),
        (of_text(f"interlock/other\n7\n{ROOT}\n"), "wrong_origin"),
    ],
)
def test_every_broken_one_is_refused(note: bytes, reason: str) -> None:
    with pytest.raises(CheckpointError) as refused:
        open_checkpoint(note, KEYS, ORIGIN)
    assert refused.value.reason == reason


@given(st.integers(0, len(NOTE) - 1), st.integers(1, 255))
def test_any_changed_byte_is_refused(place: int, change: int) -> None:
    changed = NOTE[:place] + bytes([NOTE[place] ^ change]) + NOTE[place + 1 :]
    with pytest.raises(CheckpointError):
        open_checkpoint(changed, KEYS, ORIGIN)


@given(st.binary(max_size=400))
def test_no_other_error_escapes(note: bytes) -> None:
    with pytest.raises(CheckpointError):
        open_checkpoint(note, KEYS, ORIGIN)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "x" * 256])
def test_names_that_a_line_cannot_hold(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        sign_checkpoint(CHECKPOINT, KEY, name)
    with pytest.raises(ValueError, match="origin"):
        sign_checkpoint(Checkpoint(name, 7, EMPTY_ROOT), KEY, "auditor")
