"""The one way files of a source tree are found and read: no link followed, no special file opened, all bounded."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from msgspec import Struct, field

from interlock.skills.repository.findings import Finding
from interlock.skills.repository.names import printable_name

MAX_ENTRIES = 50_000
MAX_DEPTH = 64
READ_LIMIT = 1 << 20
_SNIFF = 8192
# Directories that hold what others made: installed packages, caches, build output. Named in the context map.
SKIPPED = frozenset(
    {
        *(b".git", b".hg", b".svn", b".jj", b"node_modules", b"bower_components", b".venv", b"venv", b".tox", b".nox"),
        *(b"__pycache__", b".mypy_cache", b".pytest_cache", b".ruff_cache", b".hypothesis", b".eggs", b".gradle"),
        *(b".next", b".nuxt", b".yarn", b".pnpm-store", b".terraform", b".cache", b".interlock"),
    }
)


class Entry(Struct, frozen=True):
    """A regular file. path: printable, relative, with `/`; raw: the same in the bytes of the file system."""

    path: str
    raw: bytes
    size: int

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]


class Content(Struct, frozen=True):
    """What was read of a file, at most `READ_LIMIT` bytes of it. text: None for binary content."""

    data: bytes
    truncated: bool
    text: str | None


class Tree(Struct):
    """The regular files of a tree in byte order of their paths, and what was left out."""

    root: bytes
    files: list[Entry] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    truncated: bool = False

    def read(self, entry: Entry, limit: int = READ_LIMIT) -> Content | None:
        """At most limit bytes; None if it cannot be read as a regular file, and then a finding says so."""
        return self.read_raw(entry.raw, entry.path, limit)

    def read_raw(self, raw: bytes, path: str, limit: int = READ_LIMIT) -> Content | None:
        """As `read`, for a path that the walk does not list (inside `.git`, say)."""
        try:
            descriptor = os.open(
                os.path.join(self.root, raw),  # noqa: PTH118 - bytes
                os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
            )
            with os.fdopen(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    return None
                data = file.read(limit + 1)
        except OSError as error:
            self._note("unreadable", "low", f"cannot be read: {error.strerror}", path)
            return None
        kept = data[:limit]
        return Content(kept, len(data) > limit, _decoded(kept, cut=len(data) > limit))

    def _note(self, code: str, severity: str, message: str, path: str) -> None:
        self.findings.append(Finding(code, severity, message, path))  # type: ignore[arg-type]


def walk(root: Path | bytes, *, max_entries: int = MAX_ENTRIES, skip: frozenset[bytes] = SKIPPED) -> Tree:
    """Lists the tree, at most max_entries names. Raises OSError if the root itself cannot be listed."""
    base = os.path.realpath(os.fsencode(root))
    with os.scandir(base):
        pass
    tree = Tree(base)
    stack: list[tuple[bytes, int]] = [(b"", 0)]
    seen = 0
    while stack:
        folder, depth = stack.pop()
        below: list[tuple[bytes, int]] = []
        for entry in _listed(tree, folder):
            seen += 1
            if seen > max_entries:
                tree.truncated = True
                tree._note("too-many-files", "medium", f"only the first {max_entries} names were looked at", "")
                return _sorted(tree)
            _sort_in(tree, entry, folder + entry.name, depth, below, skip)
        stack += reversed(below)
    return _sorted(tree)


def _listed(tree: Tree, folder: bytes) -> list[os.DirEntry[bytes]]:
    try:
        with os.scandir(os.path.join(tree.root, folder)) as entries:  # noqa: PTH118 - bytes
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        tree._note("unreadable", "low", f"cannot be listed: {error.strerror}", printable_name(folder))
        return []


def _sort_in(
    tree: Tree,
    entry: os.DirEntry[bytes],
    raw: bytes,
    depth: int,
    below: list[tuple[bytes, int]],
    skip: frozenset[bytes],
) -> None:
    path = printable_name(raw)
    try:
        mode = entry.stat(follow_symlinks=False)
    except OSError as error:
        tree._note("unreadable", "low", f"cannot be examined: {error.strerror}", path)
        return
    if stat.S_ISREG(mode.st_mode):
        tree.files.append(Entry(path, raw, mode.st_size))
    elif stat.S_ISLNK(mode.st_mode):
        _note_link(tree, raw, path)
    elif not stat.S_ISDIR(mode.st_mode):
        tree._note("special-file", "low", "neither a file nor a directory (FIFO, socket or device); not opened", path)
    elif entry.name in skip:
        tree.skipped.append(path)
    elif depth >= MAX_DEPTH:
        tree._note("too-deep", "medium", f"below {MAX_DEPTH} directories; not looked at", path)
    else:
        below.append((raw + b"/", depth + 1))


def _note_link(tree: Tree, raw: bytes, path: str) -> None:
    """A link is told, never followed. Leading outside is worth more than a note."""
    tree.links.append(path)
    place = os.path.join(tree.root, raw)  # noqa: PTH118 - bytes
    try:
        target = os.path.realpath(place, strict=True)
    except OSError as error:
        word = "loops" if error.errno == errno.ELOOP else "leads nowhere"
        tree._note("broken-link", "info", f"this link {word}; not followed", path)
        return
    if target != tree.root and not target.startswith(tree.root + b"/"):
        tree._note("link-outside", "medium", "this link leads out of the tree; not followed", path)


def _sorted(tree: Tree) -> Tree:
    tree.files.sort(key=lambda entry: entry.raw)
    tree.skipped.sort()
    tree.links.sort()
    return tree


def _decoded(data: bytes, *, cut: bool) -> str | None:
    """UTF-8 or UTF-16 with a mark, else Latin-1; None for binary content."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    if b"\x00" in data[:_SNIFF]:
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # A cut in the middle of a character is not another encoding.
        if cut and error.start >= len(data) - 4 and error.reason == "unexpected end of data":
            return data[: error.start].decode("utf-8-sig")
        return data.decode("latin-1")
