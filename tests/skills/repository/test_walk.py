"""Walking and reading trees that mean no good."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.skills.repository.names import is_web_address, one_line, printable_name
from interlock.skills.repository.walk import MAX_DEPTH, READ_LIMIT, Tree, walk


def codes(tree: Tree) -> set[str]:
    return {finding.id for finding in tree.findings}


def test_links_are_told_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("secret")
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "real.txt").write_text("x")
    (root / "loop").symlink_to(root)
    (root / "self").symlink_to("self")
    (root / "out").symlink_to("../outside.txt")
    (root / "gone").symlink_to("nowhere")
    (root / "sub" / "up").symlink_to("..")
    tree = walk(root)
    assert [entry.path for entry in tree.files] == ["real.txt"]
    assert tree.links == ["gone", "loop", "out", "self", "sub/up"]
    told = {finding.file: finding.id for finding in tree.findings}
    assert told == {"gone": "broken-link", "self": "broken-link", "out": "link-outside"}


def test_a_file_that_became_a_link_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").write_text("y")
    tree = walk(root)
    (root / "a").unlink()
    (root / "a").symlink_to("../secret")
    assert tree.read(tree.files[0]) is None
    assert codes(tree) == {"unreadable"}


def test_special_files_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("sock")
        tree = walk(tmp_path)
    assert tree.files == []
    assert sorted(finding.file for finding in tree.findings) == ["pipe", "sock"]
    assert tree.read_raw(b"pipe", "pipe") is None


def test_names_of_any_bytes_become_printable_and_stay_apart(tmp_path: Path) -> None:
    names = [b"\xff\xfe.py", b"new\nline", b"tab\t", "rechts\u202elinks".encode(), b"back\\slash", "schön".encode()]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    paths = [entry.path for entry in walk(tmp_path).files]
    assert len(set(paths)) == len(names)
    assert {"\\xff\\xfe.py", "new\\x0aline", "rechts\\u202elinks", "back\\\\slash", "schön"} <= set(paths)


@given(st.binary(min_size=1, max_size=40), st.binary(min_size=1, max_size=40))
def test_printable_names_are_utf8_and_one_to_one(first: bytes, second: bytes) -> None:
    shown = printable_name(first)
    assert shown.isprintable()
    shown.encode()
    assert (shown == printable_name(second)) == (first == second)


@given(st.text(max_size=400))
def test_one_line_is_one_bounded_printable_line(text: str) -> None:
    line = one_line(text, 50)
    line.encode()
    assert len(line) <= 50
    assert line.isprintable()


@pytest.mark.parametrize(
    ("address", "fits"),
    [
        ("https://example.com/a?b=c", True),
        ("https://user:pass@example.com", False),
        ("javascript:alert(1)", False),
        ("https://[broken", False),
        ("https://example.com/<x>", False),
        ("", False),
    ],
)
def test_web_addresses(address: str, fits: bool) -> None:
    assert is_web_address(address) is fits


def test_depth_is_bounded(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(MAX_DEPTH + 5):
        folder = folder / "d"
    folder.mkdir(parents=True)
    (folder / "deep.py").write_text("x")
    tree = walk(tmp_path)
    assert tree.files == []
    assert codes(tree) == {"too-deep"}


def test_the_number_of_names_is_bounded(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number:02}").write_text("")
    tree = walk(tmp_path, max_entries=10)
    assert [entry.path for entry in tree.files] == [f"{number:02}" for number in range(10)]
    assert tree.truncated
    assert codes(tree) == {"too-many-files"}


def test_what_others_made_is_skipped_and_told(tmp_path: Path) -> None:
    for name in ("node_modules/a", ".venv/lib", ".git/objects", ".interlock/nats", "src"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_text("x")
    tree = walk(tmp_path)
    assert [entry.path for entry in tree.files] == ["src/file"]
    assert tree.skipped == [".git", ".interlock", ".venv", "node_modules"]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain", "plain"),
        (b"\xef\xbb\xbfmark", "mark"),
        ("ünï".encode("utf-16"), "ünï"),
        (b"caf\xe9", "café"),
        (b"\x7fELF\x00\x01", None),
    ],
)
def test_text_is_decoded_and_binary_told_apart(tmp_path: Path, data: bytes, text: str | None) -> None:
    (tmp_path / "f").write_bytes(data)
    tree = walk(tmp_path)
    content = tree.read(tree.files[0])
    assert content is not None
    assert content.text == text


def test_reading_is_bounded_and_a_cut_character_is_no_other_encoding(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"a" * (READ_LIMIT - 1) + "é".encode() + b"b")
    tree = walk(tmp_path)
    content = tree.read(tree.files[0])
    assert content is not None
    assert content.truncated
    assert content.text == "a" * (READ_LIMIT - 1)


def test_a_root_that_cannot_be_listed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        walk(tmp_path / "nowhere")
