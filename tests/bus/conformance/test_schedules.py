"""Reminders: they land once, at their time, and only in their own stream."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.bus.errors import BusError
from interlock.bus.schedules import SCHEDULE, SCHEDULE_TARGET, remind
from interlock.bus.streams import TIMERS, Declarations, timers_of
from tests.bus.conformance.bench import Inbox

pytestmark = pytest.mark.anyio


async def declared(bench: Any) -> Any:
    consumer = timers_of(bench.name.lower())
    await bench.transport.declare(Declarations(streams=(TIMERS,), consumers=(consumer,)))
    return consumer


async def test_a_reminder_lands_once_at_its_time_and_a_later_one_takes_its_place(bench: Any) -> None:
    consumer, workspace, clock = await declared(bench), bench.name.lower(), bench.transport.clock
    inbox = Inbox()
    start_ms = clock.now_ms()
    await remind(bench.transport, workspace, "approval", "past", due_ms=start_ms - 5_000)
    await remind(bench.transport, workspace, "approval", "moved", due_ms=start_ms + 200)
    await remind(bench.transport, workspace, "approval", "moved", due_ms=start_ms + 600)
    async with bench.transport.consume(consumer, inbox, concurrency=2):
        await bench.until_due(lambda: len(inbox.seen) == 2)
    landed = {message.subject.rpartition(".")[2]: message for message in inbox.seen}
    assert list(landed) == ["past", "moved"]
    assert landed["moved"].stored_ms - start_ms >= 600
    left = [message async for message in bench.transport.read("TIMERS", [f"interlock.{workspace}.timer.set.>"])]
    assert left == []


@pytest.mark.parametrize("target", ["", "interlock.w.role.human.x.act", "interlock.w.timer.due.*"])
async def test_a_reminder_cannot_land_elsewhere(bench: Any, target: str) -> None:
    await declared(bench)
    headers = {SCHEDULE: "@at 2030-01-01T00:00:00Z", SCHEDULE_TARGET: target}
    with pytest.raises(BusError, match="schedules"):
        await bench.transport.publish("interlock.w.timer.set.test.bad", b"", headers=headers)


@pytest.mark.parametrize("when", ["@at never", "@at 2030-01-01", "tomorrow"])
async def test_a_time_that_is_none_is_refused(bench: Any, when: str) -> None:
    await declared(bench)
    headers = {SCHEDULE: when, SCHEDULE_TARGET: "interlock.w.timer.due.test.bad"}
    with pytest.raises(BusError, match="schedules"):
        await bench.transport.publish("interlock.w.timer.set.test.bad", b"", headers=headers)


async def test_only_streams_that_allow_schedules_take_them(bench: Any) -> None:
    await bench.stream()
    headers = {SCHEDULE: "@at 2030-01-01T00:00:00Z", SCHEDULE_TARGET: bench.subject("due")}
    with pytest.raises(BusError, match="schedules"):
        await bench.transport.publish(bench.subject("set"), b"", headers=headers)
