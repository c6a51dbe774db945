"""Telling people of deviations and of budgets that run out, by the same webhook that asks them for approvals (governance.md).

Hosted by the auditor. The broker remembers what has been told (the consumer `warnings`). Only what the book holds is told of
deviations: the book believes the auditors' seals.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec

from interlock.agents.approvals.notify import hand_over, slack_body
from interlock.agents.deviations.book import deviation_subject
from interlock.agents.deviations.fold import Deviation, Event, State
from interlock.agents.posting import Webhook
from interlock.bus.errors import BusError
from interlock.bus.streams import warnings_of
from interlock.bus.transport import Incoming, Message, Transport
from interlock.envelope.amounts import timestamp

log = logging.getLogger("interlock.notify")
TOLD = ("opened", "escalated", "resolved")
# What is older was told by whoever was there then, or helps nobody now.
LATEST_MS = 3_600_000
RETRY_MS = 1_000
_events = msgspec.json.Decoder(Event)


class Alert(msgspec.Struct, frozen=True):
    """What is read of a budget's alert."""

    scope: str
    percent: int
    reached: int


_alerts = msgspec.json.Decoder(Alert)


@asynccontextmanager
async def warning(
    transport: Transport, workspace: str, hook: Webhook, refresh: Callable[[], Awaitable[State]]
) -> AsyncIterator[None]:
    """While the context lasts, people are told what went wrong. refresh: reads the book up to now."""

    async def on_incoming(incoming: Incoming) -> None:
        message, now_ms = incoming.message, transport.clock.now_ms()
        body = None
        if now_ms - message.stored_ms <= LATEST_MS:
            try:
                body = await _body(message, workspace, refresh)
            except BusError as error:
                log.warning("warning %s: %s", message.sequence, error)
                await incoming.retry(RETRY_MS)
                return
        if body is None:
            await incoming.ack()
        else:
            await hand_over(incoming, hook, body, f"warning {message.sequence}", now_ms)

    async with transport.consume(warnings_of(workspace), on_incoming, concurrency=1):
        yield


async def _body(message: Message, workspace: str, refresh: Callable[[], Awaitable[State]]) -> bytes | None:
    """None for what nobody is to be told."""
    try:
        if message.subject == deviation_subject(workspace):
            event = _events.decode(message.data)
            known = (await refresh()).get(event.id)
            return body_of_event(event, known) if known is not None and _is_held(event, known) else None
        return body_of_alert(_alerts.decode(message.data))
    except (msgspec.MsgspecError, RecursionError):
        return None


def _is_held(event: Event, known: Deviation) -> bool:
    happened_ms = {"opened": known.opened_ms, "escalated": known.escalated_ms, "resolved": known.resolved_ms}
    ms = happened_ms.get(event.step, 0)
    return ms > 0 and timestamp(ms) == event.at


def body_of_event(event: Event, known: Deviation) -> bytes:
    """The step of a deviation in the form that Slack takes."""
    lines = [known.detail, f"halted: {known.halts}" if known.halts else "nothing is halted"]
    if event.step == "resolved":
        lines = [f"by {known.by}: {known.why}"]
    else:
        lines += [f"to be mended until {timestamp(known.deadline_ms)}", f"`interlock deviations resolve {known.id}`"]
    word = {"escalated": "not mended in time", "resolved": "resolved"}.get(event.step, "opened")
    return slack_body(f"Deviation {word}: {known.kind} of {known.about}", lines)


def body_of_alert(alert: Alert) -> bytes:
    """A budget's alert at 80 or 90 percent."""
    told = f"Budget: {alert.scope} is at {alert.reached} %"
    return slack_body(told, [f"the alert is given at {alert.percent} %", "`interlock budget`"])
