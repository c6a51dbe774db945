"""Directories that somebody made who wants to be in the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from interlock.skills.watch.disk import clear, over_disk, remove_tree

MB = 1 << 20


def nest(top: Path, depth: int) -> None:
    here = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def test_any_depth_is_removed(tmp_path: Path) -> None:
    """Deeper than Python recurses, than a path may be long, than descriptors last."""
    top = tmp_path / "top"
    top.mkdir()
    nest(top, 3_000)
    assert over_disk([str(top)], [], max_bytes=MB << 10, max_files=100_000) != "", "hidden by its length"
    remove_tree(top)
    assert not top.exists()


def test_nothing_outside_is_touched(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    top = tmp_path / "top"
    (top / "a" / "b").mkdir(parents=True)
    for place in (top, top / "a" / "b"):
        (place / "directory").symlink_to(outside)
        (place / "file").symlink_to(outside / "kept")
        (place / "nowhere").symlink_to("nowhere")
        os.mkfifo(place / "fifo")
    (top / "a" / "b").chmod(0)
    (top / "a").chmod(0)
    clear(top)
    assert list(top.iterdir()) == []
    assert (outside / "kept").read_text() == "kept"
    link = tmp_path / "link"
    link.symlink_to(outside)
    with pytest.raises(OSError, match="Not a directory"):
        clear(link)
    remove_tree(link)
    remove_tree(tmp_path / "absent")
    assert (outside / "kept").read_text() == "kept"


def test_what_is_taken_is_counted(tmp_path: Path) -> None:
    def judged(**limits: int) -> str:
        return over_disk([str(tmp_path)], [os.getpid()], **{"max_bytes": 2 * MB, "max_files": 9, **limits})

    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(b"x" * MB)
    assert judged() == ""
    assert judged(max_bytes=MB >> 1) == "it wrote more than 0 MB"
    assert judged(max_files=1) == "it made more than 1 files"
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(MB << 10)
    assert judged() == "", "what is not written takes no room"
    with (tmp_path / "gone").open("wb") as file:
        (tmp_path / "gone").unlink()
        file.write(b"x" * 2 * MB)
        file.flush()
        assert judged() == "it wrote more than 2 MB", "unlinked, but held open"
    assert judged() == ""
    (tmp_path / "out").symlink_to("/")
    assert judged() == ""
    assert over_disk([str(tmp_path / "absent")], [0], max_bytes=0, max_files=0) == ""
