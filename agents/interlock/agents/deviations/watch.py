"""The watch over deviations, hosted by the auditor: opens them, acts, tells, escalates, closes them on a human's word.

Everything it knows is in AUDIT; after a restart it goes on where the last one stopped. What cannot be stored now is
tried again with every tick.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial

import anyio

from interlock.agents.deviations.alerts import write_alerts
from interlock.agents.deviations.book import Book, statement_subject
from interlock.agents.deviations.detect import of_balance, of_report
from interlock.agents.deviations.fold import Detection, Deviation, Event, State, detected, due, resolved
from interlock.agents.deviations.statement import Statement, check_statement, read_statement
from interlock.agents.telemetry.telemetry import OFF, Telemetry
from interlock.bus.control.giving import give_order
from interlock.bus.errors import BusError, Conflict
from interlock.bus.ledger.balance import Balance
from interlock.bus.ledger.stored import is_remarkable, is_sealed, read_balance
from interlock.bus.records import Seals
from interlock.bus.sender import Identity
from interlock.bus.streams import AUDIT, LEDGER
from interlock.bus.tasks import background
from interlock.bus.transport import Message, Transport
from interlock.envelope.ids import trace_of
from interlock.envelope.trust import Trust

log = logging.getLogger("interlock.deviations")
TICK_MS = 1_000
ATTEMPTS = 8
MAX_PENDING = 256
MAX_SCOPES = 1_024
Respond = Callable[[Deviation, State], Awaitable[None]]


async def no_response(deviation: Deviation, state: State) -> None:
    """Nothing besides the halt."""


class DeviationWatch:
    """respond: what else is done while a deviation is open, besides the halt; called with every tick."""

    def __init__(
        self,
        transport: Transport,
        workspace: str,
        seals: Seals,
        respond: Respond = no_response,
        telemetry: Telemetry = OFF,
    ) -> None:
        self._telemetry = telemetry
        self._transport = transport
        self._workspace = workspace
        self._identity = seals.identity
        self._trust = seals.trust
        self._respond = respond
        self._book = Book(transport, workspace, seals)
        self._ledger = Seals(Identity("gateway", seals.identity.key), seals.trust)
        self._pending: deque[Detection] = deque(maxlen=MAX_PENDING)
        self._alerted: dict[str, int] = {}  # by scope, the highest percent that is written
        self._heard = 0  # sequence of the last statement looked at
        self._lock = anyio.Lock()

    @property
    def state(self) -> State:
        return self._book.state

    async def up_to_date(self) -> State:
        """What has happened until now, whoever wrote it. Raises BusError."""
        async with self._lock:
            return await self._book.refresh()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with background() as group:
            group.start_soon(self._run)
            yield

    async def _run(self) -> None:
        while True:
            await self.tick()
            await anyio.sleep(TICK_MS / 1000)

    async def notice(self, stream: str, message: Message) -> None:
        """What the recorder is about to record of other streams than HOPS. Never raises BusError."""
        if stream != LEDGER.name or not is_remarkable(message):
            return
        balance = read_balance(message)
        if balance is None:
            return
        if not is_sealed(message, self._ledger):
            return
        if balance.alerted > self._alerted.get(balance.scope, 0):
            await self._alert(balance, message.stored_ms)
        await self.detect(of_balance(balance, message.sequence, message.stored_ms))

    async def _alert(self, balance: Balance, at_ms: int) -> None:
        try:
            await write_alerts(self._transport, self._workspace, balance, at_ms)
        except BusError as error:
            log.warning("an alert of %s could not be written: %s", balance.scope, error)
            return
        while len(self._alerted) >= MAX_SCOPES:
            self._alerted.pop(next(iter(self._alerted)))
        self._alerted[balance.scope] = balance.alerted

    async def detect(self, detection: Detection | None) -> None:
        """Opens a deviation if there is cause and acts at once. Never raises BusError: then it is done later."""
        if detection is None or detected(self.state, detection, self._now_ms()) is None:
            return
        alike = (detection.kind, detection.about)
        if any((known.kind, known.about) == alike for known in self._pending):
            return
        self._pending.append(detection)
        scope, _, name = detection.about.partition(":")
        if scope == "goal":
            self._telemetry.keep(trace_of(name), detection.kind)
        await self.tick()

    async def tick(self) -> None:
        """Whatever is due by the clock."""
        async with self._lock:
            try:
                await self._book.refresh()
                await self._hear()
                while self._pending:
                    found = self._pending[0]
                    await self._write(partial(_opening, found, self._now_ms()))
                    self._pending.popleft()
                await self._do_what_is_due()
                for one in self.state.values():
                    if one.is_open and one.acted_ms:
                        await self._respond(one, self.state)
            except BusError as error:
                log.warning("deviations: %s", error)

    async def _do_what_is_due(self) -> None:
        for event in due(self.state, self._now_ms()):
            if event.step == "acted":
                try:
                    await self._act(self.state[event.id])
                except BusError as error:
                    log.error("deviation %s could not be acted upon yet: %s", event.id, error)
                    continue
            elif event.step == "status":
                log.warning("deviation %s is open: %s", event.id, event.detail)
            else:
                log.error("deviation %s %s: %s", event.id, event.step, event.detail)
            await self._write(partial(_still_due, event))

    async def _act(self, deviation: Deviation) -> None:
        if deviation.halts:
            why = f"deviation {deviation.id}: {deviation.detail}"
            await give_order(self._transport, self._workspace, self._identity, "halt", deviation.halts, why)

    async def _hear(self) -> None:
        """Statements since the last one looked at, in order."""
        subject = statement_subject(self._workspace)
        messages = self._transport.read(AUDIT.name, [subject], from_sequence=self._heard + 1)
        async with aclosing(messages):
            async for message in messages:
                said = believed(message, self._trust.trust)
                if said is not None:
                    await self._write(partial(after, said, message, self._now_ms()))
                self._heard = message.sequence

    async def _write(self, make: Callable[[State], list[Event]]) -> None:
        for _ in range(ATTEMPTS):
            try:
                for event in make(self.state):
                    await self._book.write(event)
                return
            except Conflict:  # another auditor was first
                await self._book.refresh()
        raise Conflict(f"{ATTEMPTS} others wrote first", "it is tried again")

    def _now_ms(self) -> int:
        return self._transport.clock.now_ms()


def believed(message: Message, trust: Trust) -> Statement | None:
    """The statement in a message, if it is to be believed; else None, with a word in the log."""
    said = read_statement(message.data)
    if said is None:
        return None
    checked = check_statement(said, trust, message.stored_ms)
    if not checked.ok:
        log.warning("a statement as of %s at %s is not believed: %s", said.by, message.sequence, checked.detail)
        return None
    return said


def after(said: Statement, message: Message, now_ms: int, state: State) -> list[Event]:
    """What a believed statement leads to."""
    if said.verb == "report":
        found = of_report(said, message.sequence, message.stored_ms)
        return [] if found is None else _listed(detected(state, found, now_ms))
    evidence = f"{AUDIT.name}:{message.sequence}"
    return _listed(resolved(state, said.subject, said.by, said.why, evidence, message.stored_ms))


def _opening(found: Detection, now_ms: int, state: State) -> list[Event]:
    return _listed(detected(state, found, now_ms))


def _still_due(event: Event, state: State) -> list[Event]:
    """The event, unless another auditor has seen to it since."""
    known = state.get(event.id)
    if known is None or not known.is_open:
        return []
    done = {"acted": known.acted_ms, "alerted": known.alerted_ms, "escalated": known.escalated_ms}
    return [] if done.get(event.step) else [event]


def _listed(event: Event | None) -> list[Event]:
    return [] if event is None else [event]
