"""An actor: one inbox, one key, one handler behind the onion. Killed at any instruction, another carries on.

Acknowledged only after the handler has committed; while it works the broker is told so; what cannot be handled is
buried before it is terminated, and what keeps failing is buried at its last delivery.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
from msgspec import Struct

from interlock.bus.backoff import Backoff, delay_ms
from interlock.bus.deadletters import bury
from interlock.bus.errors import BusError
from interlock.bus.hop import Disposition, Handler, Hop, Outcome, Postpone, Refusal
from interlock.bus.streams import ConsumerSpec
from interlock.bus.tasks import background
from interlock.bus.transport import Incoming, Transport
from interlock.envelope.verdict import Reason

log = logging.getLogger("interlock.actor")

Observer = Callable[[Hop, Outcome], None]
OnDead = Callable[[Hop, Outcome], Awaitable[None]]


class ActorSettings(Struct, frozen=True, kw_only=True):
    """concurrency: hops handled at a time. progress_ms: how often the broker is told that a handler still works, well
    below the consumer's ack_wait.
    """

    concurrency: int = 64
    progress_ms: int = 3_000
    retry: Backoff = Backoff()


class Actor:
    """Feeds the hops of a consumer through the onion. handler: the onion, ending in the role. on_dead: told of true
    hops that are given up, so that whoever waits for them can be answered.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        workspace: str,
        role: str,
        consumer: ConsumerSpec,
        handler: Handler,
        settings: ActorSettings | None = None,
        observers: Sequence[Observer] = (),
        on_dead: OnDead | None = None,
    ) -> None:
        self._transport = transport
        self._workspace = workspace
        self._role = role
        self._consumer = consumer
        self._handler = handler
        self._settings = settings or ActorSettings()
        self._observers = observers
        self._on_dead = on_dead
        self._working: set[Incoming] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Handles hops while the context lasts; what is unfinished when it ends is delivered again to another."""
        consuming = self._transport.consume(self._consumer, self._on_incoming, concurrency=self._settings.concurrency)
        async with background() as group:
            group.start_soon(self._show_progress)
            async with consuming:
                yield

    async def _on_incoming(self, incoming: Incoming) -> None:
        self._working.add(incoming)
        hop = Hop(incoming.message, self._transport.clock.now_ms())
        try:
            outcome = await self._handled(hop)
            await self._answer(incoming, hop, outcome)
        except BusError as error:
            # The broker is away or full: it will deliver again once it is back.
            log.warning("hop %s not answered: %s", incoming.message.sequence, error)
            await incoming.retry(delay_ms(self._settings.retry, incoming.message.delivered, str(hop.message.sequence)))
        finally:
            self._working.discard(incoming)

    async def _handled(self, hop: Hop) -> Outcome:
        try:
            return await self._handler(hop)
        except Refusal as refusal:
            return Outcome(Disposition.DEAD, refusal.reason, refusal.detail)
        except Postpone as postpone:
            return Outcome(Disposition.RETRY, postpone.reason, postpone.detail)
        except BusError as error:
            if error.retryable:
                return Outcome(Disposition.RETRY, Reason.HANDLER_FAILED, str(error))
            return Outcome(Disposition.DEAD, Reason.HANDLER_FAILED, str(error))
        except Exception as error:
            log.exception("handler of %s failed on hop %s", self._role, hop.message.sequence)
            return Outcome(Disposition.RETRY, Reason.HANDLER_FAILED, f"{type(error).__name__}: {error}")

    async def _answer(self, incoming: Incoming, hop: Hop, outcome: Outcome) -> None:
        message = incoming.message
        if outcome.disposition is Disposition.RETRY and message.delivered >= self._consumer.max_deliver:
            detail = f"{outcome.reason}: {outcome.detail} ({message.delivered} deliveries)"
            outcome = Outcome(Disposition.DEAD, Reason.MAX_DELIVERIES, detail)
        if outcome.disposition is Disposition.DONE:
            await incoming.ack()
        elif outcome.disposition is Disposition.RETRY:
            await incoming.retry(delay_ms(self._settings.retry, message.delivered, str(message.sequence)))
        else:
            if hop.authentic and self._on_dead is not None:
                await self._on_dead(hop, outcome)
            await bury(
                self._transport,
                self._workspace,
                self._role,
                self._consumer.stream,
                message,
                reason=outcome.reason,
                detail=outcome.detail,
                now_ms=hop.now_ms,
            )
            await incoming.terminate(outcome.reason)
        for observe in self._observers:
            try:
                observe(hop, outcome)
            except Exception:
                log.exception("an observer failed; the hop is not harmed")

    async def _show_progress(self) -> None:
        while True:
            await anyio.sleep(self._settings.progress_ms / 1000)
            for incoming in list(self._working):
                await incoming.progress()
