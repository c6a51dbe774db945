"""The commit a tree stands at, read from `.git` without running git."""

from __future__ import annotations

import re

from interlock.skills.repository.walk import Tree

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_REF = re.compile(r"ref: (refs/[A-Za-z0-9._/@+-]{1,200})")


def commit_of(tree: Tree) -> str:
    """The commit id of HEAD; empty where there is none or `.git` leads elsewhere (a worktree, a submodule)."""
    noted = len(tree.findings)
    try:
        head = _text(tree, b".git/HEAD")
        match = _REF.fullmatch(head)
        if match is None or ".." in match[1]:
            return head if _COMMIT.fullmatch(head) else ""
        loose = _text(tree, b".git/" + match[1].encode())
        return loose if _COMMIT.fullmatch(loose) else _packed(tree, match[1])
    finally:
        del tree.findings[noted:]  # that a tree has no .git is nothing to tell


def _packed(tree: Tree, ref: str) -> str:
    for line in _text(tree, b".git/packed-refs").splitlines():
        commit, _, name = line.partition(" ")
        if name == ref and _COMMIT.fullmatch(commit):
            return commit
    return ""


def _text(tree: Tree, raw: bytes) -> str:
    content = tree.read_raw(raw, raw.decode())
    return (content.text or "").strip() if content else ""
