"""An actor: one inbox, one key, one handler behind the onion. Killed at any instruction, another carries on.

Acknowledged only after the handler has committed; while it works the broker is told so; what cannot be handled is
buried before it is terminated, and what keeps failing is buried at its last delivery.

What a halt stops is held: kept in hand, the broker told that it is being worked on, and handled from its start once it
may be. No delivery is used up (docs/halts.md).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup
from msgspec import Struct

from interlock.bus.backoff import Backoff, delay_ms
from interlock.bus.control.excuses import Excuses
from interlock.bus.control.halts import Doing, doing_of
from interlock.bus.control.source import NO_CONTROL, ControlSource
from interlock.bus.deadletters import bury
from interlock.bus.errors import BusError
from interlock.bus.failpoints import failpoint
from interlock.bus.hop import Disposition, Handler, Hop, Outcome, Postpone, Refusal
from interlock.bus.streams import ConsumerSpec
from interlock.bus.tasks import background
from interlock.bus.telemetry.watching import HopWatch
from interlock.bus.transport import Incoming, Transport
from interlock.envelope.verdict import Reason

log = logging.getLogger("interlock.actor")

Observer = Callable[[Hop, Outcome], None]
NEVER_ANSWERED = Outcome(Disposition.DEAD, Reason.MAX_DELIVERIES, "delivered again and again, and never answered")
# Between two attempts at a hop that was halted again at once.
AGAIN_S = 0.05
# Anybody who may publish can copy what another signed: the hop itself is not given up with a copy of it.
COPIES = frozenset({Reason.REPLAYED, Reason.WRONG_MESSAGE_ID, Reason.WRONG_SUBJECT})
OnDead = Callable[[Hop, Outcome], Awaitable[None]]
Recognise = Callable[[Hop], object]


class ActorSettings(Struct, frozen=True, kw_only=True):
    """concurrency: hops handled at a time. progress_ms: how often the broker is told that a handler still works, well
    below the consumer's ack_wait. max_held, max_held_bytes: how many halted hops may be held beside those at work.
    rest_ms: after which a hop that met an open circuit comes again; that is no attempt of it.
    """

    concurrency: int = 64
    progress_ms: int = 3_000
    max_held: int = 2_048
    max_held_bytes: int = 32 << 20
    rest_ms: int = 5_000
    retry: Backoff = Backoff()


class Actor:
    """Feeds the hops of a consumer through the onion. handler: the onion, ending in the role. on_dead: told of true
    hops that are given up, so that whoever waits for them can be answered. recognise: decodes a hop and finds whether it
    is authentic, for one that is given up because no handler came to its end. agent: who it is to the halts of control;
    the role when not given. watch: told of every hop.
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
        control: ControlSource = NO_CONTROL,
        agent: str = "",
        recognise: Recognise | None = None,
        watch: HopWatch | None = None,
    ) -> None:
        self._watch = watch
        self._recognise = recognise
        self._transport = transport
        self._workspace = workspace
        self._role = role
        self._consumer = consumer
        self._handler = handler
        self._settings = settings or ActorSettings()
        self._observers = observers
        self._on_dead = on_dead
        self._control = control
        self._agent = agent or role
        self._excuses = Excuses(transport, workspace, role)
        self._attempts = consumer.attempts or consumer.max_deliver
        self._in_hand: dict[int, Incoming] = {}
        self._held = 0
        self._held_bytes = 0
        self._again = anyio.CapacityLimiter(self._settings.concurrency)
        self._group: TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Handles hops while the context lasts; what is unfinished when it ends is delivered again to another."""
        consuming = self._transport.consume(self._consumer, self._on_incoming, concurrency=self._settings.concurrency)
        async with background() as group:
            self._group = group
            group.start_soon(self._show_progress)
            async with consuming:
                yield

    async def _on_incoming(self, incoming: Incoming) -> None:
        message = incoming.message
        if message.sequence in self._in_hand:
            return  # delivered again because the broker was away: answered when the first is
        self._in_hand[message.sequence] = incoming
        held = False
        try:
            doing = await self._attempt(incoming)
            if doing is not None:
                await self._excuses.note(message)
            while doing is not None and not held:
                held = self._begin_to_hold(incoming, doing)
                if not held:
                    itself = Doing(agent=self._agent)
                    await self._control.until_allowed(doing if self._control.verdict(itself).allowed else itself)
                    doing = await self._attempt(incoming, again=True)
        finally:
            if not held:
                del self._in_hand[message.sequence]

    async def _attempt(self, incoming: Incoming, *, again: bool = False) -> Doing | None:
        """Handles and answers. What a halt forbids is told, and then nothing was answered."""
        message = incoming.message
        hop = Hop(message, self._transport.clock.now_ms(), again=again)
        watched = None if self._watch is None else self._watch.begin(hop)
        answered: Outcome | None = None
        failpoint("hop_received")
        try:
            used = message.delivered
            if used >= self._attempts:
                used = await self._excuses.attempts(message, self._attempts)
            outcome = await self._handled(hop) if used <= self._attempts else NEVER_ANSWERED
            # A few times: should reading it be what kills, it is buried unread.
            if self._attempts < used <= 4 * self._attempts and self._recognise is not None:
                self._recognise(hop)
            if outcome.disposition is Disposition.RETRY and outcome.reason is Reason.HALTED:
                return doing_of(self._agent, hop.envelope)
            if outcome.disposition is Disposition.RETRY and outcome.reason is Reason.CIRCUIT_OPEN:
                await self._excuses.rest(message)
                await incoming.retry(self._settings.rest_ms)
                answered = outcome
                return None
            failpoint("hop_handled")
            answered = await self._answer(incoming, hop, outcome, used)
            failpoint("hop_answered")
        except (BusError, Postpone) as error:
            if isinstance(error, Postpone) and error.reason is Reason.HALTED:
                return doing_of(self._agent, hop.envelope)  # nobody may be told now that it is given up
            # The broker is away or full: it will deliver again once it is back.
            log.warning("hop %s not answered: %s", message.sequence, error)
            await incoming.retry(delay_ms(self._settings.retry, message.delivered, str(message.sequence)))
        finally:
            if watched is not None:
                watched.end(answered)
        return None

    def _begin_to_hold(self, incoming: Incoming, doing: Doing) -> bool:
        """Holds it beside the work, if there is room, so that what is not halted goes on. Who is halted himself keeps
        its place among the workers occupied instead: then no more is fetched.
        """
        size = len(incoming.message.data)
        full = self._held >= self._settings.max_held or self._held_bytes + size > self._settings.max_held_bytes
        if full or self._group is None or not self._control.verdict(Doing(agent=self._agent)).allowed:
            return False
        self._held += 1
        self._held_bytes += size
        self._group.start_soon(self._hold, incoming, doing)
        return True

    async def _hold(self, incoming: Incoming, halted: Doing) -> None:
        doing: Doing | None = halted
        try:
            while doing is not None:
                await self._control.until_allowed(doing)
                async with self._again:
                    doing = await self._attempt(incoming, again=True)
                if doing is not None:
                    await anyio.sleep(AGAIN_S)
        finally:
            self._held -= 1
            self._held_bytes -= len(incoming.message.data)
            del self._in_hand[incoming.message.sequence]

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

    async def _answer(self, incoming: Incoming, hop: Hop, outcome: Outcome, used: int) -> Outcome:
        """Answers, and says what the answer was."""
        message = incoming.message
        if outcome.disposition is Disposition.RETRY and used >= self._attempts:
            detail = f"{outcome.reason}: {outcome.detail} ({message.delivered} deliveries)"
            outcome = Outcome(Disposition.DEAD, Reason.MAX_DELIVERIES, detail)
        if outcome.disposition is Disposition.DONE:
            await incoming.ack()
        elif outcome.disposition is Disposition.RETRY:
            await incoming.retry(delay_ms(self._settings.retry, message.delivered, str(message.sequence)))
        else:
            if hop.authentic and outcome.reason not in COPIES and self._on_dead is not None:
                await self._on_dead(hop, outcome)
            failpoint("letter_due")
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
            failpoint("letter_stored")
            await incoming.terminate(outcome.reason)
        for observe in self._observers:
            try:
                observe(hop, outcome)
            except Exception:
                log.exception("an observer failed; the hop is not harmed")
        return outcome

    async def _show_progress(self) -> None:
        while True:
            await anyio.sleep(self._settings.progress_ms / 1000)
            for incoming in list(self._in_hand.values()):
                await incoming.progress()
