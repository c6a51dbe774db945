"""What a run takes of the disk, and taking it back. Its files are made by somebody who may not be trusted."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

_BLOCK = 512


def over_disk(tops: Iterable[str], pids: Iterable[int], *, max_bytes: int, max_files: int) -> str:
    """Empty, or what is too much: in these directories, and in files that were unlinked while the processes hold
    them open.
    """
    total = count = 0
    for size in (*_entries(tops), *_held(pids)):
        if size < 0:
            return "it made a directory that cannot be looked into"
        total, count = total + size, count + 1
        if total > max_bytes:
            return f"it wrote more than {max_bytes >> 20} MB"
        if count > max_files:
            return f"it made more than {max_files} files"
    return ""


def _entries(tops: Iterable[str]) -> Iterator[int]:
    """The size in bytes of everything below, -1 for a directory that hides its content."""
    stack = list(tops)
    while stack:
        try:
            with os.scandir(stack.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
                    yield _size(entry)
        except (FileNotFoundError, NotADirectoryError):
            continue  # gone since it was listed
        except OSError:
            yield -1  # closed to its owner, or deeper than a path can tell


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_blocks * _BLOCK
    except FileNotFoundError:
        return 0


def _held(pids: Iterable[int]) -> Iterator[int]:
    for pid in pids:
        try:
            descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            continue  # it has ended
        for descriptor in descriptors:
            try:
                found = descriptor.stat()
            except OSError:
                continue
            if stat.S_ISREG(found.st_mode) and found.st_nlink == 0:
                yield found.st_blocks * _BLOCK


def clear(top: Path) -> None:
    """Empties a directory that a run has written to, once the run has ended. However deep its directories nest: each
    is first moved to the top, so that neither recursion nor the length of a path sets a limit. Raises OSError.
    """
    handle = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        while entries := list(os.scandir(handle)):
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    _flatten(entry.name, handle)
                else:
                    os.unlink(entry.name, dir_fd=handle)
    finally:
        os.close(handle)


def remove_tree(top: Path) -> None:
    """Removes a directory of runs; what cannot be removed stays."""
    try:
        top.rmdir()  # most are empty
        return
    except OSError:
        pass
    try:
        top.chmod(0o700)
        clear(top)
        top.rmdir()
    except OSError:
        return


def _flatten(name: str, top: int) -> None:
    os.chmod(name, 0o700, dir_fd=top)
    inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
    try:
        for entry in list(os.scandir(inner)):
            if entry.is_dir(follow_symlinks=False):
                os.chmod(entry.name, 0o700, dir_fd=inner)
                os.rename(entry.name, os.urandom(16).hex(), src_dir_fd=inner, dst_dir_fd=top)
            else:
                os.unlink(entry.name, dir_fd=inner)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=top)
