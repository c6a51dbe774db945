"""People are told of deviations and of budgets that run out: a webhook that really listens, a book that is believed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anyio
import msgspec
import pytest

from interlock.agents.deviations.book import deviation_subject
from interlock.agents.deviations.fold import HOUR_MS, Detection, Event
from interlock.agents.deviations.warning import LATEST_MS, warning
from interlock.bus.streams import declarations
from interlock.envelope.amounts import timestamp
from interlock.envelope.subjects import workspace_subject
from tests.agents.approvals.test_notify import Receiver
from tests.agents.audit.histories import GOAL, NOW, WORKSPACE
from tests.agents.deviations.test_watch import Place

pytestmark = pytest.mark.anyio


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver(503, 200)
    yield made
    made.stop()


def titles(receiver: Receiver) -> list[str]:
    return [msgspec.json.decode(body)["text"] for _, body in receiver.got]


async def told(place: Place, receiver: Receiver, count: int) -> list[str]:
    with anyio.fail_after(10):
        while len(receiver.got) < count:
            await place.transport.settle()
            place.clock.advance(20)  # the pause before another try
            await anyio.sleep(0.005)
    return titles(receiver)


async def test_opened_escalated_and_resolved_are_told_and_tried_again(receiver: Receiver) -> None:
    place = Place()
    await place.transport.declare(declarations((WORKSPACE,)))
    async with warning(place.transport, WORKSPACE, receiver.hook, place.watch.up_to_date):
        await place.watch.detect(cause())
        opened = f"Deviation opened: cost_breach of goal:{GOAL}"
        assert await told(place, receiver, 2) == [opened] * 2, "the first was not taken"
        detail = msgspec.json.decode(receiver.got[1][1])["blocks"][1]["text"]["text"]
        (one,) = place.watch.state.values()
        assert "it used too much" in detail and f"halted: goal:{GOAL}" in detail
        assert f"interlock deviations resolve {one.id}" in detail
        await place.later(2 * HOUR_MS + 1)
        assert (await told(place, receiver, 3))[2].startswith("Deviation not mended in time")
        await place.say(subject=one.id)
        assert (await told(place, receiver, 4))[3].startswith("Deviation resolved")
        assert "by human: mended" in msgspec.json.decode(receiver.got[3][1])["blocks"][1]["text"]["text"]


async def test_what_the_book_does_not_hold_and_what_is_old_troubles_nobody(receiver: Receiver) -> None:
    place = Place()
    await place.transport.declare(declarations((WORKSPACE,)))
    forged: dict[str, Any] = {"id": "d-1", "step": "opened", "kind": "cost_breach", "about": "goal:x", "detail": "x"}
    event = Event(at=timestamp(NOW), **forged)
    for data in (msgspec.json.encode(event), b"garbage", b"{}"):
        await place.transport.publish(deviation_subject(WORKSPACE), data)
    await place.transport.publish(workspace_subject(WORKSPACE, "audit", "alert", "day", "x", "80"), alert("old"))
    place.clock.advance(LATEST_MS + 1)
    await place.transport.publish(workspace_subject(WORKSPACE, "audit", "alert", "day", "x", "90"), alert("day.x"))
    async with warning(place.transport, WORKSPACE, receiver.hook, place.watch.up_to_date):
        assert await told(place, receiver, 2) == ["Budget: day.x is at 91 %"] * 2


def cause() -> Detection:
    about = f"goal:{GOAL}"
    return Detection(kind="cost_breach", about=about, halts=about, detail="it used too much", evidence="x", seen_ms=NOW)


def alert(scope: str) -> bytes:
    return msgspec.json.encode({"scope": scope, "percent": 90, "reached": 91, "limit": {}})
