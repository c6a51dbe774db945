"""What is published beside `goal.submit`, below `goal.`: the stream takes it, so somebody has to answer it."""

from __future__ import annotations

import logging

import msgspec

from interlock.agents.intake.handed_in import INVALID
from interlock.agents.intake.reading import problem
from interlock.agents.intake.replies import may_answer
from interlock.bus.backoff import Backoff, delay_ms
from interlock.bus.deadletters import bury
from interlock.bus.errors import BusError
from interlock.bus.streams import GOALS
from interlock.bus.transport import Incoming, Message, Transport

log = logging.getLogger("interlock.gateway")


async def tell_stray(transport: Transport, message: Message, subject: str) -> None:
    """subject: where a goal would go. Raises BusError."""
    if may_answer(message.reply):
        await transport.send(message.reply, msgspec.json.encode({"errors": _errors(message, subject)}))


async def bury_stray(transport: Transport, workspace: str, incoming: Incoming, subject: str) -> None:
    """A dead letter also of what was answered: who asked is not known here."""
    message = incoming.message
    try:
        await bury(
            transport,
            workspace,
            "gateway",
            GOALS.name,
            message,
            reason=INVALID,
            detail=msgspec.json.encode(_errors(message, subject)).decode(),
            now_ms=transport.clock.now_ms(),
        )
    except BusError as error:
        log.warning("the stray at %s is not buried yet: %s", message.sequence, error)
        await incoming.retry(delay_ms(Backoff(), message.delivered, str(message.sequence)))
    else:
        await incoming.ack()


def _errors(message: Message, subject: str) -> list[dict[str, str]]:
    found = problem((), f"nobody hears {message.subject[:200]}; a goal goes to {subject}")
    return [{"path": found.path, "message": found.message}]
