"""What a follower takes for owed: heard, and neither read nor too long ago."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from interlock.bus.jetstream import wake as module
from interlock.bus.jetstream.wake import MAX_OWED, OWED_S, Wake
from interlock.bus.transport import NO_HEADERS, Message

pytestmark = pytest.mark.anyio


class Timed(Wake):
    def __init__(self, *, only_last: bool = False) -> None:
        super().__init__(only_last=only_last)
        self.now_s = 100.0
        self._now_s = lambda: self.now_s

    def hears(self, data: bytes, subject: str = "a") -> None:
        raw: Any = SimpleNamespace(subject=subject, data=data)
        self.hear(raw)

    def reads(self, data: bytes, subject: str = "a") -> None:
        self.read(Message(subject, data, NO_HEADERS, 1, 0))


async def test_what_was_heard_is_owed_until_it_is_read() -> None:
    assert not Timed().is_owed
    wake = Timed()
    wake.hears(b"x")
    assert wake.event.is_set()
    wake.reads(b"y")
    wake.reads(b"x", "b")
    assert wake.is_owed, "neither was it"
    wake.reads(b"x")
    assert not wake.is_owed


async def test_the_same_bytes_twice_are_owed_twice() -> None:
    wake = Timed()
    wake.hears(b"x")
    wake.hears(b"x")
    wake.reads(b"x")
    assert wake.is_owed
    wake.reads(b"x")
    wake.reads(b"x")
    assert not wake.is_owed


@pytest.mark.parametrize("only_last", [True, False])
async def test_what_a_later_one_replaced_is_owed_no_more(only_last: bool) -> None:
    wake = Timed(only_last=only_last)
    for data in (b"1", b"2"):
        wake.hears(data)
    wake.reads(b"unheard")
    assert wake.is_owed
    wake.reads(b"2")
    assert wake.is_owed is not only_last


async def test_what_came_later_or_elsewhere_is_owed_still() -> None:
    wake = Timed(only_last=True)
    for data, subject in ((b"1", "b"), (b"1", "a"), (b"2", "a")):
        wake.hears(data, subject)
    wake.reads(b"1", "a")
    wake.reads(b"2", "a")
    assert wake.is_owed, "that on the other subject"
    wake.hears(b"3")
    wake.reads(b"1", "b")
    assert wake.is_owed, "the later one"


async def test_what_was_refused_is_owed_for_a_while_only() -> None:
    wake = Timed()
    wake.hears(b"refused")
    wake.now_s += OWED_S / 2
    wake.hears(b"later")
    wake.now_s += OWED_S / 2
    assert wake.is_owed, "the later one"
    wake.reads(b"later")
    assert not wake.is_owed


async def test_a_follower_that_does_not_read_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OWED", 10)
    wake = Timed()
    for number in range(50):
        wake.hears(b"%d" % number)
    assert len(wake._owed) == 10
    assert MAX_OWED > 100
