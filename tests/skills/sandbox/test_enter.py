"""What is missing of isolation refuses runs, unless the workspace says otherwise."""

from __future__ import annotations

import sys

import pytest

from interlock.skills.sandbox import enter, landlock
from interlock.skills.sandbox.enter import Confinement, IsolationUnavailable


def confinement(*, strict: bool) -> Confinement:
    return Confinement(
        cpu_seconds=1, memory_bytes=1 << 30, file_bytes=1 << 20, processes=0, network=False, readable=(), writable=(),
        strict=strict,
    )  # fmt: skip


def test_a_missing_part_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enter, "missing", lambda: ("Landlock", "seccomp filters"))
    with pytest.raises(IsolationUnavailable, match=r"no Landlock and no seccomp filters"):
        enter.rules_for(confinement(strict=True))


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    assert any("Landlock" in part for part in enter.missing.__wrapped__())
    monkeypatch.setattr(sys, "platform", "darwin")
    assert enter.missing.__wrapped__() == ("Linux",)


def test_what_python_needs_is_readable() -> None:
    paths = enter.interpreter_paths()
    assert not any(one != other and one.startswith(other.rstrip("/") + "/") for one in paths[:4] for other in paths[:4])
    assert "/" not in paths
    assert not any(path.startswith(("/etc/passwd", "/home", "/proc")) or path == "/etc" for path in paths)
