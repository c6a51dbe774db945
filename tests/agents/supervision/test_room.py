"""A disk without room: told before anything is begun, and when it fills up under a goal."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

from interlock.agents.errors import UserError
from interlock.agents.supervision import room
from interlock.agents.supervision.house import house
from interlock.agents.supervision.room import FULL_BYTES, LEAST_BYTES, check_room, free_bytes, keep_room, until_full
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.settings import Settings
from interlock.bus.server.embedded import EmbeddedServer

pytestmark = pytest.mark.anyio


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the disk has free, last."""
    told = [LEAST_BYTES]
    monkeypatch.setattr(room, "free_bytes", lambda place: told[-1])
    return told


def test_what_is_free_is_that_of_the_nearest_directory_there_is(tmp_path: Path) -> None:
    found = os.statvfs(tmp_path)
    wanted = found.f_frsize * (found.f_bfree if os.geteuid() == 0 else found.f_bavail)
    assert abs(free_bytes(tmp_path / "not" / "there") - wanted) < 1 << 30, "others write too"


async def test_on_a_disk_without_room_nothing_is_begun(tmp_path: Path, free: list[int]) -> None:
    check_room(tmp_path)
    free.append(LEAST_BYTES - 1)
    with pytest.raises(UserError, match=r"only 32767 KiB are free .* \(no_space\)\. Free at least 32 MiB there"):
        async with house(Layout(tmp_path / "w"), Settings()):
            pass
    assert not (tmp_path / "w").exists()


async def test_a_goal_that_stands_still_on_a_full_disk_is_waited_for_no_longer(
    tmp_path: Path, free: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "LOOK_S", 0.001)
    monkeypatch.setattr(room, "STILL_S", 0.05)
    hops = 0
    with anyio.move_on_after(0.2) as waiting:  # a goal may wait for a human; the disk has room
        await until_full(tmp_path, lambda: hops)
    assert waiting.cancelled_caught
    free.append(FULL_BYTES - 1)

    def goes_on() -> int:
        nonlocal hops
        hops += 1
        return hops

    with anyio.move_on_after(0.2) as running:  # it goes on: what it writes still fits, or is not on this disk
        await until_full(tmp_path, goes_on)
    assert running.cancelled_caught
    with anyio.fail_after(10), pytest.raises(UserError, match=r"is full, and the goal stands still \(no_space\)"):
        await until_full(tmp_path, lambda: hops)


async def test_a_broker_begins_anew_once_there_is_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(room, "LOOK_S", 0)
    course = [
        LEAST_BYTES,
        FULL_BYTES,
        FULL_BYTES - 1,
        FULL_BYTES,
        LEAST_BYTES - 1,
        LEAST_BYTES,
        FULL_BYTES,
        0,
        LEAST_BYTES,
    ]
    looked = iter(course)
    ended: list[int] = []
    seen = 0

    def free(_: Path) -> int:
        nonlocal seen
        seen = next(looked)
        if seen < 0:
            raise OSError(5, "the disk does not answer")
        return seen

    monkeypatch.setattr(room, "free_bytes", free)
    server = EmbeddedServer(tmp_path)
    monkeypatch.setattr(server, "terminate", lambda: ended.append(seen))
    with anyio.fail_after(10), pytest.raises(RuntimeError, match="StopIteration"):
        await keep_room([server, server])
    assert ended == [LEAST_BYTES] * 4, "both of them, twice"
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"] * 2
    assert str(tmp_path) in caplog.text
