"""The ledger writer: one process that decides and stores; everybody else asks it (docs/adr/0004).

Requests that arrive while a publish is under way are decided together and each scope they touch is stored once, with
the sequence it was read at: a second writer loses that race, forgets what it thought and answers `unavailable`.
An answer is given only after the balance it speaks of is stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import get_args

import msgspec
from msgspec.structs import replace

from interlock.bus.errors import BusError
from interlock.bus.failpoints import failpoint
from interlock.bus.ledger.balance import (
    Answer,
    Balance,
    Operation,
    Request,
    Reservation,
    end,
    expire,
    renew,
    reserve,
    settle,
)
from interlock.bus.records import Seals, last_sealed
from interlock.bus.relays import is_asked
from interlock.bus.streams import LEDGER
from interlock.bus.tasks import background
from interlock.bus.transport import NO_HEADERS, Message, Transport
from interlock.envelope.amounts import ZERO, Amount, timestamp
from interlock.envelope.kind_quota import KindQuota
from interlock.envelope.subjects import workspace_subject

log = logging.getLogger("interlock.ledger")
MAX_SCOPES = 10_000
MAX_BATCH = 512
EXPIRE_EVERY_MS = 1_000
SCOPE = re.compile(r"(day|goal|task|kind)\.[a-z0-9-]{1,64}(\.[a-z0-9-]{1,64})?")
DAY_MS = 86_400_000
Responder = Callable[[Answer], Awaitable[None]]
_requests = msgspec.json.Decoder(Request | list[Request])
_balances = msgspec.json.Decoder(Balance)
_encode = msgspec.json.encode


def request_subject(workspace: str) -> str:
    """Where the writer listens; plain request and reply, no stream takes it."""
    return workspace_subject(workspace, "request", "ledger")


class _Together:
    """Requests of one message: told when the last of them is answered."""

    def __init__(self, count: int, respond: Callable[[list[Answer]], Awaitable[None]]) -> None:
        self._respond = respond
        self._answers: dict[int, Answer] = {}
        self._count = count

    async def answered(self, place: int, answer: Answer) -> None:
        self._answers[place] = answer
        if len(self._answers) == self._count:
            await self._respond([self._answers[place] for place in range(self._count)])


class LedgerWriter:
    """Use as `async with writer.running():`. day_limit: what a workspace may spend a day; asked for again whenever a
    goal is opened, so that a limit changed during the day holds for all goals after it. seals: signs balances, and only
    signed ones count, as do only requests that the broker does not just repeat. asked: which operations are done for
    whoever asks on `request.ledger`. kinds: the limits of a kind of work by its name, looked at with every request.
    """

    def __init__(
        self,
        transport: Transport,
        workspace: str,
        day_limit: Amount | Callable[[], Amount],
        seals: Seals | None = None,
        *,
        asked: frozenset[str] = frozenset(get_args(Operation)),
        kinds: Callable[[str], KindQuota | None] = lambda name: None,
    ) -> None:
        self._kinds = kinds
        self._seals = seals
        self._asked = asked
        self._transport = transport
        self._workspace = workspace
        self._day_limit = day_limit
        self._balances: dict[str, tuple[Balance, int]] = {}
        self._foreign: dict[str, int] = {}  # where a scope without a balance has messages that do not count
        self._queue: asyncio.Queue[tuple[Request, Responder]] = asyncio.Queue()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        subscription = self._transport.subscribe(request_subject(self._workspace), self._on_request, group="ledger")
        async with background() as group, subscription:
            group.start_soon(self._work)
            yield

    async def ask(self, request: Request) -> Answer:
        """The same as a request over the bus, for whoever lives in the writer's process."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        async def respond(answer: Answer) -> None:
            if not future.done():
                future.set_result(answer)

        self._queue.put_nowait((request, respond))
        return await future

    async def _on_request(self, message: Message) -> None:
        """One request, or some, which are answered together and in their order."""

        async def respond(answer: Answer | list[Answer]) -> None:
            if message.reply:
                await self._transport.send(message.reply, _encode(answer))

        try:
            asked = _requests.decode(message.data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            await respond(_malformed(str(error)[:200]))
            return
        requests = asked if isinstance(asked, list) else [asked]
        problem = self._objection(message, requests)
        if problem:
            await respond(_malformed(problem))
        elif isinstance(asked, Request):
            self._queue.put_nowait((asked, respond))
        else:
            together = _Together(len(asked), respond)
            for place, request in enumerate(asked):
                self._queue.put_nowait((request, partial(together.answered, place)))

    def _objection(self, message: Message, requests: list[Request]) -> str:
        """Why nobody may ask this over the bus, or empty."""
        if self._seals is not None and not is_asked(message):
            return "not a request, but what the broker repeats"
        if not 0 < len(requests) <= MAX_BATCH:
            return f"{len(requests)} requests at once; at least one, at most {MAX_BATCH}"
        refused = next((request.op for request in requests if request.op not in self._asked), "")
        return f"{refused} is not asked over the bus" if refused else ""

    async def _work(self) -> None:
        next_expiry_ms = 0
        while True:
            batch: list[tuple[Request, Responder]] = []
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EXPIRE_EVERY_MS / 1000):
                    batch.append(await self._queue.get())
            while not self._queue.empty() and len(batch) < MAX_BATCH:
                batch.append(self._queue.get_nowait())
            await self._decide(batch)
            now_ms = self._transport.clock.now_ms()
            if now_ms >= next_expiry_ms:
                next_expiry_ms = now_ms + EXPIRE_EVERY_MS
                await self._expire_overdue(now_ms)

    async def _decide(self, batch: list[tuple[Request, Responder]]) -> None:
        touched: dict[str, Balance] = {}
        answers: list[Answer] = []
        try:
            for request, _ in batch:
                answers.append(await self._apply(request, touched))
            failpoint("ledger_decided")
            await self._store(touched)
            failpoint("ledger_stored")
        except BusError as error:
            answers = [Answer(granted=False, reason="unavailable", detail=str(error)[:200])] * len(batch)
            self._forget(touched, error)
        for (_, respond), answer in zip(batch, answers, strict=True):
            try:
                await respond(answer)
            except BusError as error:
                log.warning("ledger: an answer was lost: %s", error)

    async def _apply(self, request: Request, touched: dict[str, Balance]) -> Answer:
        if not SCOPE.fullmatch(request.scope) or (request.parent and not SCOPE.fullmatch(request.parent)):
            return Answer(granted=False, reason="malformed", detail="not a scope")
        if min(request.amount.tokens, request.amount.usd_micro, request.amount.wall_ms, request.amount.actions) < 0:
            return Answer(granted=False, reason="malformed", detail="a negative amount")
        if request.op == "open":
            return await self._open(request, touched)
        if request.scope.startswith("kind."):
            balance = await self._kind(request, touched)
        else:
            balance = await self._balance(request.scope, touched)
        if balance is None:
            return Answer(granted=False, reason="unknown_scope", detail=request.scope)
        if request.op == "balance":
            return Answer(granted=True, left=balance.left)
        if request.op == "end":
            return await self._end(balance, touched)
        if balance.breached and request.op == "reserve" and balance.scope.startswith("kind."):
            detail = f"{balance.scope}: one cost more than one may, so no more of this kind begins that day"
            return Answer(granted=False, reason="breached", detail=detail)
        if request.op == "reserve":
            held = Reservation(request.amount, request.expires_ms, slack=request.slack)
            changed, answer = reserve(balance, request.key, held)
        elif request.op == "settle":
            changed, answer = settle(balance, request.key, request.amount)
            if changed is not balance and self._costs_too_much(request):
                changed = replace(changed, breached=True)
        else:
            changed, answer = renew(balance, request.key, request.amount, request.expires_ms)
        if changed is not balance:
            touched[balance.scope] = changed
        return answer

    async def _open(self, request: Request, touched: dict[str, Balance]) -> Answer:
        """The limit is reserved in the parent first; a crash before the child is stored leaves that to be found again
        by the repeated request, or to expire.
        """
        found = await self._balance(request.scope, touched)
        if found is not None and (found.limit == ZERO) != (request.amount == ZERO):
            return Answer(granted=False, reason="taken", detail=f"{request.scope} was opened with another limit")
        if found is not None:
            return Answer(granted=True)
        if request.parent:
            parent = await self._parent(request.parent, touched)
            if parent is None:
                return Answer(granted=False, reason="unknown_scope", detail=request.parent)
            held = Reservation(request.amount, request.expires_ms, slack=request.amount)
            changed, answer = reserve(parent, request.scope, held)
            if not answer.granted:
                return answer
            touched[parent.scope] = changed
        touched[request.scope] = Balance(scope=request.scope, parent=request.parent, limit=request.amount)
        return Answer(granted=True, left=request.amount)

    async def _parent(self, scope: str, touched: dict[str, Balance]) -> Balance | None:
        found = await self._balance(scope, touched)
        if not scope.startswith("day."):
            return found
        limit = self._day_limit() if callable(self._day_limit) else self._day_limit
        if found is None:
            found = touched[scope] = Balance(scope=scope, limit=limit)
        elif found.limit != limit:
            found = touched[scope] = replace(found, limit=limit)
        return found

    async def _kind(self, request: Request, touched: dict[str, Balance]) -> Balance | None:
        """The day of a kind of work, which begins with the first that is asked of it; None for a kind that is not limited, and
        for a new day that is not about today. What was breached stays so until the day's limit is another.
        """
        _, name, day = (*request.scope.split("."), "")[:3]
        quota, found = self._kinds(name), await self._balance(request.scope, touched)
        if quota is None or (found is None and (request.op != "reserve" or not self._is_about_now(day))):
            return found
        limit = quota.per_day.amount
        if found is None:
            return Balance(scope=request.scope, limit=limit)
        if found.limit != limit:
            found = replace(found, limit=limit, breached=not found.used.within(limit))
            touched[request.scope] = found
        return found

    def _is_about_now(self, day: str) -> bool:
        now_ms = self._transport.clock.now_ms()
        return day in {timestamp(now_ms + off)[:10] for off in (-DAY_MS, 0, DAY_MS)}

    def _costs_too_much(self, request: Request) -> bool:
        """Whether one piece of work of a kind cost more than one may."""
        kind, name = request.scope.split(".")[:2]
        quota = self._kinds(name) if kind == "kind" else None
        return quota is not None and not request.amount.within(quota.per_task.amount)

    async def _end(self, balance: Balance, touched: dict[str, Balance]) -> Answer:
        ended = balance if balance.ended else end(balance)
        touched[balance.scope] = ended
        parent = await self._balance(balance.parent, touched) if balance.parent else None
        if parent is not None and balance.scope in parent.open:
            touched[parent.scope], _ = settle(parent, balance.scope, ended.used)
        return Answer(granted=True, left=ended.left)

    async def _balance(self, scope: str, touched: dict[str, Balance]) -> Balance | None:
        if scope in touched:
            return touched[scope]
        if scope not in self._balances:
            message, sequence = await last_sealed(self._transport, LEDGER.name, self._subject(scope), self._seals)
            if message is None:
                if sequence:
                    self._foreign[scope] = sequence
                return None
            while len(self._balances) >= MAX_SCOPES:
                self._balances.pop(next(iter(self._balances)))
            self._balances[scope] = (_balances.decode(message.data), sequence)
        return self._balances[scope][0]

    async def _store(self, touched: dict[str, Balance]) -> None:
        """In the order in which a crash in between only ever holds too much: scopes that end, then parents, then
        children that live.
        """
        for wave in range(3):
            group = [balance for balance in touched.values() if _wave(balance) == wave]
            acks = await asyncio.gather(*(self._publish(balance) for balance in group))
            for balance, sequence in zip(group, acks, strict=True):
                self._balances[balance.scope] = (balance, sequence)

    async def _publish(self, balance: Balance) -> int:
        subject, data = self._subject(balance.scope), _encode(balance)
        known = self._balances.get(balance.scope)
        sequence = self._foreign.pop(balance.scope, 0) if known is None else known[1]
        headers = NO_HEADERS if self._seals is None else self._seals.headers(subject, sequence, data)
        ack = await self._transport.publish(subject, data, headers=headers, expected_sequence=sequence)
        return ack.sequence

    def known(self, scope: str) -> Balance | None:
        """The balance of a scope that was asked for lately."""
        found = self._balances.get(scope)
        return None if found is None else found[0]

    async def _expire_overdue(self, now_ms: int) -> None:
        overdue: dict[str, Balance] = {}
        for scope, (balance, _) in self._balances.items():
            changed, keys = expire(balance, now_ms)
            if keys:
                overdue[scope] = changed
        try:
            await self._store(overdue)
        except BusError as error:
            self._forget(overdue, error)

    def _forget(self, touched: dict[str, Balance], error: BusError) -> None:
        """Memory and store may differ now: read again before the next decision."""
        log.warning("ledger: %s", error)
        for scope in touched:
            self._balances.pop(scope, None)
            self._foreign.pop(scope, None)

    def _subject(self, scope: str) -> str:
        return workspace_subject(self._workspace, "ledger", *scope.split("."))


def _malformed(detail: str) -> Answer:
    return Answer(granted=False, reason="malformed", detail=detail)


def _wave(balance: Balance) -> int:
    if balance.ended:
        return 0
    return 2 if balance.parent else 1
