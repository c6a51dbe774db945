"""Asking the ledger: over the bus, fail closed. A repeated request is safe, so a lost answer is asked for again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import anyio
import msgspec

from interlock.bus.errors import BusError
from interlock.bus.ledger.balance import Answer, Request
from interlock.bus.ledger.writer import request_subject
from interlock.bus.relays import ASKED
from interlock.bus.tasks import background
from interlock.bus.transport import Transport
from interlock.envelope.amounts import ZERO, Amount, timestamp

# A request has 250 bytes or so, and its answer fewer.
MAX_TOGETHER = 256
_answers = msgspec.json.Decoder(Answer | list[Answer])


class Ask(Protocol):
    """Whoever answers ledger requests: the client over the bus, or the writer itself."""

    async def ask(self, request: Request) -> Answer: ...


class LedgerClient:
    """timeout_ms: how long one try waits; tries: how often it is asked before the answer is `unavailable`. What is asked
    while an answer is waited for is asked together when it has come: under load a request costs no round trip of its own.
    """

    def __init__(self, transport: Transport, workspace: str, *, timeout_ms: int = 2_000, tries: int = 2) -> None:
        self._transport = transport
        self._subject = request_subject(workspace)
        self._timeout_ms = timeout_ms
        self._tries = tries
        self._waiting: list[tuple[Request, asyncio.Future[Answer]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def ask(self, request: Request) -> Answer:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_all())
        return await future

    async def _ask_all(self) -> None:
        """Lives as long as somebody waits; whoever is cancelled meanwhile is asked for all the same."""
        together: list[tuple[Request, asyncio.Future[Answer]]] = []
        try:
            while self._waiting:
                together, self._waiting = self._waiting[:MAX_TOGETHER], self._waiting[MAX_TOGETHER:]
                answers = await self._answers([request for request, _ in together])
                for (_, future), answer in zip(together, answers, strict=True):
                    if not future.done():
                        future.set_result(answer)
        finally:
            left, self._waiting, self._asking = [*together, *self._waiting], [], None
            for _, future in left:
                future.cancel()  # those who have no answer by now

    async def _answers(self, requests: list[Request]) -> list[Answer]:
        data = msgspec.json.encode(requests)
        failure = ""
        for _ in range(self._tries):
            try:
                answer = await self._transport.request(self._subject, data, timeout_ms=self._timeout_ms, headers=ASKED)
                told = _answers.decode(answer.data)
                answers = told if isinstance(told, list) else [told] * len(requests)  # one: of the message as a whole
                if len(answers) == len(requests):
                    return answers
                failure = f"{len(answers)} answers to {len(requests)} requests"
            except (BusError, msgspec.MsgspecError) as error:
                failure = str(error)
        return [Answer(granted=False, reason="unavailable", detail=failure[:200])] * len(requests)


def goal_scope(goal_id: str) -> str:
    return f"goal.{goal_id}"


def day_scope(now_ms: int) -> str:
    """The workspace's day, UTC."""
    return f"day.{timestamp(now_ms)[:10]}"


def kind_scope(kind: str, created_at: str) -> str:
    """What a kind of work may spend a day (UTC). created_at: of the envelope that asks for the work, so that a hop that
    comes again counts for the same day.
    """
    return f"kind.{kind}.{created_at[:10]}"


async def open_goal(ledger: Ask, goal_id: str, limit: Amount, *, now_ms: int, expires_ms: int) -> Answer:
    """Opens a goal's scope under the day's; refused when the day cannot hold it, and as `taken` when it was closed."""
    request = Request(
        op="open", scope=goal_scope(goal_id), parent=day_scope(now_ms), amount=limit, expires_ms=expires_ms
    )
    return await ledger.ask(request)


async def close_unopened(ledger: Ask, goal_id: str) -> Answer:
    """Takes a goal's scope with nothing in it, so that nobody opens it any more: what was refused never begins, whichever
    copy of it comes, to whichever gateway. Refused as `taken` when the goal was opened before.
    """
    return await ledger.ask(Request(op="open", scope=goal_scope(goal_id), amount=ZERO))


async def end_goal(ledger: Ask, goal_id: str) -> Answer:
    """Closes a goal's scope; the day gets back what the goal did not use."""
    return await ledger.ask(Request(op="end", scope=goal_scope(goal_id)))


class Lease:
    """A slice of a scope, spent locally at the cost of a subtraction, for hot paths. Reported to the ledger in the
    background; a quarter of the slice may be spent between two reports, and that much is lost if its holder dies.
    """

    def __init__(self, ledger: Ask, scope: str, key: str, size: Amount, *, hold_ms: int, now_ms: int) -> None:
        self._ledger = ledger
        self._scope = scope
        self._key = key
        self._size = size
        self._slack = _part(size, 4)
        self._soon = _part(size, 8)  # unreported spending that calls for a report
        self._hold_ms = hold_ms
        self._expires_ms = now_ms + hold_ms
        self._spent = ZERO
        self._reported = ZERO
        self._wake = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def taken(
        cls, transport: Transport, ledger: Ask, scope: str, key: str, size: Amount, *, hold_ms: int = 30_000
    ) -> AsyncIterator[Lease | Answer]:
        """The lease, or the ledger's refusal. At the end what was not spent goes back."""
        now_ms = transport.clock.now_ms()
        lease = cls(ledger, scope, key, size, hold_ms=hold_ms, now_ms=now_ms)
        answer = await ledger.ask(
            Request(op="reserve", scope=scope, key=key, amount=size, slack=lease._slack, expires_ms=lease._expires_ms)
        )
        if not answer.granted:
            yield answer
            return
        try:
            async with background() as group:
                group.start_soon(lease._report, transport)
                yield lease
        finally:
            with anyio.CancelScope(shield=True):
                await ledger.ask(Request(op="settle", scope=scope, key=key, amount=lease._spent))

    def spend(self, amount: Amount, now_ms: int) -> bool:
        """Takes an amount, or answers False: the slice is used up, unreported spending is at its bound, or the lease
        has expired.
        """
        spent = self._spent + amount
        if now_ms >= self._expires_ms or not spent.within(self._size):
            return False
        unreported = spent - self._reported
        if not unreported.within(self._slack):
            self._wake.set()
            return False
        self._spent = spent
        if not unreported.within(self._soon):
            self._wake.set()
        return True

    async def _report(self, transport: Transport) -> None:
        while True:
            with anyio.move_on_after(self._hold_ms / 3000):
                await self._wake.wait()
            self._wake.clear()
            spent, expires_ms = self._spent, transport.clock.now_ms() + self._hold_ms
            answer = await self._ledger.ask(
                Request(op="renew", scope=self._scope, key=self._key, amount=spent, expires_ms=expires_ms)
            )
            if answer.granted:
                self._reported, self._expires_ms = spent, expires_ms


def _part(size: Amount, share: int) -> Amount:
    return Amount(size.tokens // share, size.usd_micro // share, size.wall_ms // share, size.actions // share)
