"""The gateway's shell: goals in, signed intakes and answers out; its process also hosts the ledger writer (ROL-01).

What a stranger publishes is answered, or kept as a dead letter if nobody waits for the answer; in either case only then
acknowledged. A crash before that means a redelivery, which finds the goal as it was left: its id, its scope in the
ledger and its first envelope are the same again.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakValueDictionary

import anyio
import msgspec
from msgspec.structs import replace

from interlock.agents.contract.admission import Admission
from interlock.agents.goal.plan import Problem
from interlock.agents.intake.first_envelope import first_envelope
from interlock.agents.intake.handed_in import INVALID, REFUSED_BEFORE, goal_id_of, relay_problem, stored_bytes
from interlock.agents.intake.issuing import Issuer
from interlock.agents.intake.persons import Persons
from interlock.agents.intake.reading import problem
from interlock.agents.intake.replies import Replies
from interlock.agents.intake.strays import bury_stray, tell_stray
from interlock.agents.intake.validate import HEADROOM, Rejected, read_intake
from interlock.agents.planning.catalogue import Catalogue
from interlock.agents.telemetry.goals import IntakesShown
from interlock.agents.telemetry.telemetry import OFF, Telemetry
from interlock.bus.backoff import Backoff, delay_ms
from interlock.bus.clock import boot_s
from interlock.bus.control.halts import Doing
from interlock.bus.control.source import NO_CONTROL, ControlSource
from interlock.bus.control.waiting import held_until_allowed
from interlock.bus.deadletters import bury
from interlock.bus.errors import BusError, Unavailable
from interlock.bus.failpoints import failpoint
from interlock.bus.hop import Postpone
from interlock.bus.ledger.client import Ask, close_unopened, open_goal
from interlock.bus.sender import Sender
from interlock.bus.streams import GOALS, HOPS, consumers_of
from interlock.bus.transport import MESSAGE_ID, Incoming, Message, Transport
from interlock.envelope.amounts import time_ms
from interlock.envelope.model import Envelope
from interlock.envelope.subjects import role_subject, workspace_subject
from interlock.envelope.verdict import Ground
from interlock.envelope.verification import Limits, decode

log = logging.getLogger("interlock.gateway")
# A goal without a deadline of its own leaves humans the hour that an approval may take (GOV-06).
GOAL_TTL_MS = 3_600_000
CLOSING_MS = 60_000
LATE_MS = 60_000
SHOWN_BYTES = 4_096
LISTEN_MS, LISTEN_TURNS = 20, 20
HALTED = "halted"
NEVER_ANSWERED = "every gateway that had this goal ended before it could answer"
REFUSE_AFTER_MS = 1_000
# A busy gateway may hear of who wants an answer long after it has taken the goal in.
ACCEPTED_MS = 30_000


class GatewayRole:
    """admission: whether a goal may begin, and what its envelopes say was in force then. persons: salts of the people that
    goals name, where their names are not kept. token_key: what signs goals' capability tokens, if not the gateway's own key.
    """

    def __init__(
        self,
        transport: Transport,
        workspace: str,
        sender: Sender,
        *,
        catalogue: Catalogue,
        ledger: Ask,
        admission: Admission,
        limits: Limits,
        named_only: bool = False,
        control: ControlSource = NO_CONTROL,
        telemetry: Telemetry = OFF,
        persons: Persons | None = None,
        token_key: str = "",
    ) -> None:
        self._issuer = Issuer(sender.identity, token_key)
        self._persons = persons
        self._shown = IntakesShown(telemetry)
        self._transport = transport
        self._workspace = workspace
        self._subject = workspace_subject(workspace, "goal", "submit")
        self._sender = sender
        self._catalogue = catalogue
        self._ledger = ledger
        self._admission = admission
        self._limits = limits
        self._named_only = named_only
        self._control = control
        self._replies = Replies()
        self._under_way: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
        self._consumer = next(spec for spec in consumers_of(workspace) if spec.stream == GOALS.name)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        listening = self._transport.subscribe(self._consumer.subjects[0], self._on_plain)
        async with listening, self._transport.consume(self._consumer, self._on_goal, concurrency=32):
            yield

    async def _on_plain(self, message: Message) -> None:
        """Every gateway hears this; only who may want an answer is of interest, and what the stream will not take."""
        try:
            if message.subject != self._subject:
                await tell_stray(self._transport, message, self._subject)
                return
            given = self._replies.ask(message, self._now_ms())
            if given is not None:
                await self._transport.send(message.reply, given)
            elif stored_bytes(message) > GOALS.max_message_bytes:
                await self._not_stored(message)
        except BusError as error:
            log.warning("an answer was lost: %s", error)

    async def _not_stored(self, message: Message) -> None:
        """The broker drops it without a word. A dead letter of its beginning: whole, it would not fit either; one for a
        while, so that nobody can fill the stream of dead letters with these.
        """
        told = f"{len(message.data)} bytes are more than a stream takes: put large content into files"
        await self._tell(replace(message, data=message.data[:SHOWN_BYTES]), [problem((), told)], asked_as=message)

    async def _on_goal(self, incoming: Incoming) -> None:
        message = incoming.message
        try:
            if message.subject != self._subject:
                await bury_stray(self._transport, self._workspace, incoming, self._subject)
                return
            if not await self._let_in(incoming):
                await incoming.ack()
                return
            if message.delivered > self._consumer.attempts:
                await self._give_up(incoming, NEVER_ANSWERED)
                return
            failpoint("goal_received")
            async with self._alone(message):
                await self._answered(incoming)
            await incoming.ack()
        except BusError as error:
            await self._again(incoming, error)
        except Postpone:
            await self._on_goal(incoming)  # halted between its first step and its last
        except Exception:
            log.exception("goal at %s failed", message.sequence)
            await self._give_up(incoming, "the gateway failed on this goal; its log says why")

    async def _answered(self, incoming: Incoming) -> None:
        message = incoming.message
        if self._replies.refusal_of(message) is not None:
            return  # whoever asked was told so while this copy of it waited
        with self._shown.taking_in(message, goal_id_of(message)) as shown:
            answer = await self._taken_in(message)
            shown.accepted = not isinstance(answer, list)
            if isinstance(answer, list):
                shown.problem = "; ".join(f"{entry.path}: {entry.message}" for entry in answer)[:500]
        failpoint("goal_published")
        if isinstance(answer, list):
            await self._tell(message, answer, incoming=incoming)
        else:
            await self._accept(message)

    async def _let_in(self, incoming: Incoming) -> bool:
        """Who waits for an answer while nothing may be taken in is refused; what nobody waits for is kept until then.

        Refused by an order only. A gateway that has no word from the broker knows neither of orders nor of what copies of
        the message are still to be stored: it says nothing until it hears again.
        """
        refusal = self._replies.refusal_of(incoming.message)
        if refusal is not None:
            await self._reply(incoming.message, refusal, keep_ms=0)
            return False
        doing = Doing(agent=self._sender.identity.agent, goal=goal_id_of(incoming.message))
        while True:
            with anyio.move_on_after(REFUSE_AFTER_MS / 1000):  # a broker that is away for a moment refuses nobody
                await self._control.until_allowed(doing)
                return True
            if boot_s() <= self._control.until_s:
                break
            await incoming.progress()
        verdict = self._control.verdict(doing)
        if verdict.allowed or await self._runs(incoming.message):
            return True
        if self._replies.is_asked(incoming.message, self._now_ms()) and await self._closed(incoming.message):
            await incoming.ack_confirmed()  # else it might come again when nothing is halted
            errors = [{"path": "$", "message": f"{HALTED}: {verdict.grounds[0].message}"}]
            await self._refuse(incoming.message, errors)
            return False
        await held_until_allowed(self._control, doing, incoming)
        return True

    async def _runs(self, message: Message) -> bool:
        """Whether a repeat of this message was taken in before: who asks again must not be told that it was refused."""
        async with self._alone(message):
            return await self._standing(message, goal_id_of(message)) is not None

    async def _closed(self, message: Message) -> bool:
        """Whether no copy of this message begins its goal any more. False: one has opened it, and its first envelope may
        stand where it is not to be seen yet. Raises Unavailable.
        """
        goal_id = goal_id_of(message)
        if message.headers.get(MESSAGE_ID) != goal_id:
            return True  # every copy of it is a goal of its own
        closed = await close_unopened(self._ledger, goal_id)
        if closed.reason == "unavailable":
            raise Unavailable(f"the ledger is not available: {closed.detail}")
        return closed.granted

    def _alone(self, message: Message) -> anyio.Lock:
        """Held by one of all messages that ask for the same goal."""
        return self._under_way.setdefault(goal_id_of(message), anyio.Lock())

    async def _again(self, incoming: Incoming, error: BusError) -> None:
        message = incoming.message
        log.warning("goal at %s not taken in: %s", message.sequence, error)
        if error.retryable and message.delivered < self._consumer.attempts:
            await incoming.retry(delay_ms(Backoff(), message.delivered, str(message.sequence)))
        else:
            await self._give_up(incoming, f"{error.reason}: {error}")

    async def _give_up(self, incoming: Incoming, why: str) -> None:
        message = incoming.message
        try:
            if await self._runs(message):
                await self._accept(message)
            else:
                await self._tell(message, [problem((), why)], incoming=incoming)
        except BusError as error:
            log.error("goal at %s could not be answered: %s", message.sequence, error)
            await incoming.retry(delay_ms(Backoff(), message.delivered, str(message.sequence)))
            return
        except Exception:
            log.exception("goal at %s could not be answered", message.sequence)
        await incoming.terminate(INVALID)

    async def _taken_in(self, message: Message) -> dict[str, Any] | list[Problem]:
        """The answer to its submitter, or what is wrong with the goal. Raises BusError."""
        now_ms = self._now_ms()
        relayed = relay_problem(message, named_only=self._named_only)
        if relayed:
            return [problem((), relayed)]
        read = read_intake(
            message.data,
            now_ms=now_ms,
            max_ttl_ms=self._limits.max_ttl_ms,
            catalogue=self._catalogue,
            max_bytes=self._limits.max_bytes - HEADROOM,
        )
        if isinstance(read, Rejected):
            return read.problems
        goal_id = goal_id_of(message)
        intake = await self._persons.without_names(read.intake) if self._persons else read.intake
        answer = self._accepted(message)
        standing = await self._standing(message, goal_id)
        if standing is not None:
            if standing.payload == intake:
                return answer
            return [problem((), f"{MESSAGE_ID} {goal_id} already stands for another goal; a new goal needs a new one")]
        context = self._admission.admit(intake.budget_limits.amount)
        if isinstance(context, Ground):
            place = ["budget_limits"] if context.code == "over_quota" else []
            return [problem(place, f"{context.code}: {context.message}; allowed: {context.instead}")]
        # What waited long for a gateway gets its whole time; else its time is the broker's.
        began_ms = now_ms if now_ms - message.stored_ms > LATE_MS else min(now_ms, message.stored_ms)
        deadline_ms = time_ms(intake.deadline) + CLOSING_MS if intake.deadline else began_ms + GOAL_TTL_MS
        ttl_ms = min(deadline_ms - began_ms, self._limits.max_ttl_ms)
        opened = await open_goal(
            self._ledger,
            goal_id,
            intake.budget_limits.amount,
            now_ms=began_ms,
            expires_ms=began_ms + ttl_ms + CLOSING_MS,
        )
        if opened.reason == "unavailable":
            raise Unavailable(f"the ledger is not available: {opened.detail}")
        if opened.reason == "taken":
            return [problem((), REFUSED_BEFORE)]
        if not opened.granted:
            return [problem(["budget_limits"], f"{opened.reason}: {opened.detail}")]
        failpoint("goal_opened")
        grant = await self._issuer.grant(intake, goal_id, context, now_ms=began_ms, life_ms=ttl_ms)
        first = first_envelope(
            intake, goal_id, self._workspace, self._sender.identity, context, grant, began_ms=began_ms, ttl_ms=ttl_ms
        )
        await self._sender.publish(self._sender.sealed(first))
        return answer

    def _accepted(self, message: Message) -> dict[str, Any]:
        goal_id = goal_id_of(message)
        return {"goalId": goal_id, "workspace": self._workspace, "stream": GOALS.name, "seq": message.sequence}

    async def _standing(self, message: Message, goal_id: str) -> Envelope | None:
        """The intake this gateway already signed for the goal, if there may be one: its id was chosen by the submitter,
        or this is a redelivery.
        """
        if message.delivered == 1 and message.headers.get(MESSAGE_ID) != goal_id:
            return None
        subject = role_subject(self._workspace, "orchestrator", goal_id, "plan")
        stored = await self._transport.last(HOPS.name, subject)
        found = None if stored is None else decode(stored.data, self._limits).envelope
        return found if found is not None and found.key_id == self._sender.identity.key.key_id else None

    async def _tell(
        self,
        message: Message,
        problems: Sequence[Problem],
        *,
        asked_as: Message | None = None,
        incoming: Incoming | None = None,
    ) -> None:
        """Refuses: told to whoever asked, once the broker knows that it need not come again; kept as a dead letter when
        nobody did.
        """
        errors = [{"path": entry.path, "message": entry.message} for entry in problems]
        asked = asked_as or message
        for _ in range(LISTEN_TURNS if incoming is not None else 0):
            # The stored message may have come by a shorter way than the plain one that says who wants an answer. In short
            # turns, so that a process with much else to do listens for longer.
            if self._replies.is_asked(asked, self._now_ms()):
                break
            await anyio.sleep(LISTEN_MS / 1000 / LISTEN_TURNS)
        if incoming is not None and self._replies.is_asked(asked, self._now_ms()):
            await incoming.ack_confirmed()
        if await self._refuse(asked, errors):
            return
        await bury(
            self._transport,
            self._workspace,
            "gateway",
            GOALS.name,
            message,
            reason=INVALID,
            detail=msgspec.json.encode(errors).decode(),
            now_ms=self._now_ms(),
        )

    async def _accept(self, message: Message) -> None:
        """Told to whoever asked, and kept for who asks from now on: the same bytes under the same id are the same goal."""
        data = msgspec.json.encode(self._accepted(message))
        await self._reply(message, data, keep_ms=ACCEPTED_MS)

    async def _refuse(self, message: Message, errors: list[dict[str, Any]]) -> bool:
        """Whether somebody was told. Copies of the message that were stored by now are refused with it."""
        data = msgspec.json.encode({"errors": errors})
        told = await self._reply(message, data, keep_ms=GOALS.dedupe_ms)
        if told:
            self._replies.refused(message, data, self._now_ms())
        return told

    async def _reply(self, message: Message, data: bytes, *, keep_ms: int) -> bool:
        """Whether somebody waited and the answer was sent. keep_ms: how long it is kept for who asks from now on."""
        replies = self._replies.take(message, self._now_ms())
        if keep_ms:
            self._replies.answered(message, data, self._now_ms() + keep_ms)
        sent = False
        for reply in replies:
            try:
                await self._transport.send(reply, data)
                sent = True
            except BusError as error:
                log.warning("an answer was lost: %s", error)
        return sent

    def _now_ms(self) -> int:
        return self._transport.clock.now_ms()
