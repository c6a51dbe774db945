"""The ledger over both transports: no interleaving overspends, a second writer is fenced, a restart forgets nothing."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import anyio
import msgspec
import pytest

from interlock.bus.ledger.balance import Answer, Balance, Request
from interlock.bus.ledger.client import Lease, LedgerClient, close_unopened, day_scope, goal_scope, open_goal
from interlock.bus.ledger.writer import MAX_BATCH, LedgerWriter, request_subject
from interlock.bus.streams import LEDGER
from interlock.bus.transport import Message, Transport
from interlock.envelope.amounts import Amount, clock_ms
from interlock.envelope.ids import new_id

pytestmark = pytest.mark.anyio
DAY = Amount(10**9, 10**9, 10**9, 10**9)


async def stored(transport: Transport, workspace: str, scope: str) -> Balance:
    message = await transport.last(LEDGER.name, f"interlock.{workspace}.ledger.{scope}")
    assert message is not None
    return msgspec.json.decode(message.data, type=Balance)


async def test_many_clients_never_overspend_and_everything_adds_up(transport: Transport, workspace: str) -> None:
    goal_id, limit = new_id(clock_ms()), Amount(1000, 1000, 1000, 1000)
    writer = LedgerWriter(transport, workspace, DAY)
    granted = 0

    async def client(number: int) -> None:
        nonlocal granted
        ledger = LedgerClient(transport, workspace)
        for turn in range(8):
            key, amount = f"{number}-{turn}", Amount(7, 13, 5, 1)
            reserve = Request(
                op="reserve", scope=goal_scope(goal_id), key=key, amount=amount, expires_ms=clock_ms() + 60_000
            )
            answers = [await ledger.ask(reserve) for _ in range(2)]
            assert answers[0].granted == answers[1].granted or answers[1].granted
            if answers[0].granted:
                granted += 1
                if turn % 2:
                    await ledger.ask(Request(op="settle", scope=goal_scope(goal_id), key=key, amount=amount))
                    await ledger.ask(Request(op="settle", scope=goal_scope(goal_id), key=key, amount=amount))

    async with writer.running():
        assert (await open_goal(writer, goal_id, limit, now_ms=clock_ms(), expires_ms=clock_ms() + 10**6)).granted
        async with anyio.create_task_group() as group:
            for number in range(16):
                group.start_soon(client, number)
        balance = await stored(transport, workspace, goal_scope(goal_id))
        assert (balance.used + balance.reserved).within(limit)
        assert granted == 1000 // 13
        assert (balance.used + balance.reserved).usd_micro == granted * 13
        day = await stored(transport, workspace, day_scope(clock_ms()))
        assert day.reserved == limit
        await writer.ask(Request(op="end", scope=goal_scope(goal_id)))
        day = await stored(transport, workspace, day_scope(clock_ms()))
        assert (day.reserved.usd_micro, day.used.usd_micro) == (0, granted * 13)


async def test_two_writers_never_grant_more_than_there_is(transport: Transport, workspace: str) -> None:
    """Both answer requests (one queue group); whichever loses the race for the sequence answers `unavailable`."""
    goal_id, limit = new_id(clock_ms()), Amount(tokens=50)
    answers: list[Answer] = []

    async def client(number: int) -> None:
        ledger = LedgerClient(transport, workspace, tries=20)
        request = Request(
            op="reserve",
            scope=goal_scope(goal_id),
            key=str(number),
            amount=Amount(tokens=3),
            expires_ms=clock_ms() + 60_000,
        )
        answers.append(await ledger.ask(request))

    async with AsyncExitStack() as stack:
        writers = [LedgerWriter(transport, workspace, DAY) for _ in range(2)]
        for writer in writers:
            await stack.enter_async_context(writer.running())
        while not (
            await open_goal(writers[0], goal_id, limit, now_ms=clock_ms(), expires_ms=clock_ms() + 10**6)
        ).granted:
            pass
        async with anyio.create_task_group() as group:
            for number in range(40):
                group.start_soon(client, number)
        balance = await stored(transport, workspace, goal_scope(goal_id))
        assert balance.reserved.within(limit)
        assert sum(answer.granted for answer in answers) <= 16
        assert {answer.reason for answer in answers if not answer.granted} <= {"over_budget", "unavailable"}


async def test_a_new_writer_knows_what_the_old_one_granted(transport: Transport, workspace: str) -> None:
    goal_id = new_id(clock_ms())
    reserve = Request(
        op="reserve", scope=goal_scope(goal_id), key="a", amount=Amount(tokens=8), expires_ms=clock_ms() + 60_000
    )
    first = LedgerWriter(transport, workspace, DAY)
    async with first.running():
        await open_goal(first, goal_id, Amount(tokens=10), now_ms=clock_ms(), expires_ms=clock_ms() + 10**6)
        assert (await first.ask(reserve)).granted
    second = LedgerWriter(transport, workspace, DAY)
    async with second.running():
        assert (await second.ask(reserve)).granted, "the same reservation is granted again, not twice"
        other = msgspec.structs.replace(reserve, key="b")
        assert (await second.ask(other)).reason == "over_budget"


async def test_a_day_that_is_spent_opens_no_goal(transport: Transport, workspace: str) -> None:
    writer = LedgerWriter(transport, workspace, Amount(tokens=10))
    async with writer.running():
        answers = [
            await open_goal(
                writer, new_id(clock_ms()), Amount(tokens=6), now_ms=clock_ms(), expires_ms=clock_ms() + 10**6
            )
            for _ in range(2)
        ]
    assert [answer.granted for answer in answers] == [True, False]
    assert "day." in answers[1].detail


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"[[]]",
        b'[{"op":"balance","scope":"goal.a"},{"op":"steal","scope":"goal.a"}]',
        msgspec.json.encode([Request(op="balance", scope="goal.a")] * (MAX_BATCH + 1)),
        b"\xff",
        b'{"op":"steal","scope":"goal.a"}',
        msgspec.json.encode(Request(op="reserve", scope="goal.>")),
        msgspec.json.encode(Request(op="reserve", scope="goal.a", amount=Amount(tokens=-5))),
        msgspec.json.encode(Request(op="reserve", scope="goal.none", key="a")),
    ],
)
async def test_bad_requests_are_answered(transport: Transport, workspace: str, data: bytes) -> None:
    async with LedgerWriter(transport, workspace, DAY).running():
        for _ in range(2):
            answer = await transport.request(request_subject(workspace), data, timeout_ms=2_000)
            told = msgspec.json.decode(answer.data, type=Answer)
            assert (told.granted, told.reason in ("malformed", "unknown_scope")) == (False, True)


async def test_what_is_asked_at_once_is_asked_together(transport: Transport, workspace: str) -> None:
    """In order, each with its own answer, whoever gave up waiting meanwhile."""
    goal_id, heard = new_id(clock_ms()), []

    async def hear(message: Message) -> None:
        heard.append(message)

    writer, client = LedgerWriter(transport, workspace, DAY), LedgerClient(transport, workspace)
    listening = transport.subscribe(request_subject(workspace), hear)
    async with writer.running(), listening:
        await open_goal(writer, goal_id, Amount(actions=25), now_ms=clock_ms(), expires_ms=clock_ms() + 10**6)
        scope, expires_ms = goal_scope(goal_id), clock_ms() + 10**6
        asked = [
            asyncio.create_task(
                client.ask(
                    Request(
                        op="reserve", scope=scope, key=f"k{number}", amount=Amount(actions=1), expires_ms=expires_ms
                    )
                )
            )
            for number in range(40)
        ]
        await asyncio.sleep(0)
        asked[3].cancel()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(answers.pop(3), asyncio.CancelledError)
        granted = [answer.granted for answer in answers if isinstance(answer, Answer)]
        assert granted == [True] * 24 + [False] * 15, "the one given up was asked for, too"
        assert len(heard) <= 3
        balance: Any = await stored(transport, workspace, scope)
        assert balance.left.actions == 0
        assert (await client.ask(Request(op="balance", scope=scope))).granted, "and the next one is asked again"
        assert (await client.ask(Request(op="open", scope="goal.x", parent="day.2026-01-01"))).granted


async def test_a_message_that_is_refused_refuses_all_of_it(transport: Transport, workspace: str) -> None:
    asked = frozenset({"balance", "reserve"})
    async with LedgerWriter(transport, workspace, DAY, asked=asked).running():
        client = LedgerClient(transport, workspace)
        requests = [Request(op="balance", scope="goal.a"), Request(op="end", scope="goal.a")]
        first, *answers = await asyncio.gather(*(client.ask(request) for request in [*requests, *requests]))
        assert {answer.reason for answer in (first, *answers)} <= {"malformed", "unknown_scope"}
        assert "end is not asked" in answers[0].detail


async def test_nobody_there_means_no(transport: Transport, workspace: str) -> None:
    answer = await LedgerClient(transport, workspace, timeout_ms=50, tries=1).ask(Request(op="balance", scope="goal.a"))
    assert (answer.granted, answer.reason) == (False, "unavailable")


async def test_a_lease_is_spent_locally_and_returns_the_rest(transport: Transport, workspace: str) -> None:
    goal_id, scope = new_id(clock_ms()), ""
    writer = LedgerWriter(transport, workspace, DAY)
    async with writer.running():
        await open_goal(writer, goal_id, Amount(actions=100), now_ms=clock_ms(), expires_ms=clock_ms() + 10**6)
        scope = goal_scope(goal_id)
        async with Lease.taken(transport, writer, scope, "lease", Amount(actions=80)) as lease:
            assert isinstance(lease, Lease)
            spent = 0
            with anyio.fail_after(10):
                while spent < 80:
                    spent += lease.spend(Amount(actions=1), clock_ms())
                    await anyio.sleep(0)
            assert not lease.spend(Amount(actions=1), clock_ms())
            async with Lease.taken(transport, writer, scope, "other", Amount(actions=80)) as refused:
                assert isinstance(refused, Answer)
                assert refused.reason == "over_budget"
        async with Lease.taken(transport, writer, scope, "third", Amount(actions=20)) as third:
            assert isinstance(third, Lease)
            assert third.spend(Amount(actions=1), clock_ms())
        balance: Any = await stored(transport, workspace, scope)
        assert (balance.used.actions, balance.open) == (81, {})


async def test_what_was_closed_before_it_began_is_never_opened_and_what_was_opened_is_not_closed(
    transport: Transport, workspace: str
) -> None:
    refused, running = new_id(clock_ms()), new_id(clock_ms())
    limit = Amount(10, 10, 10, 10)
    more: dict[str, int] = {"now_ms": clock_ms(), "expires_ms": clock_ms() + 60_000}
    async with LedgerWriter(transport, workspace, DAY).running():
        ledger = LedgerClient(transport, workspace)
        assert (await open_goal(ledger, running, limit, **more)).granted
        for _ in range(2):
            assert (await close_unopened(ledger, refused)).granted
            assert (await close_unopened(ledger, running)).reason == "taken"
    async with LedgerWriter(transport, workspace, DAY).running():  # another writer knows as well
        ledger = LedgerClient(transport, workspace)
        assert (await open_goal(ledger, refused, limit, **more)).reason == "taken"
        assert (await open_goal(ledger, running, limit, **more)).granted
    assert (await stored(transport, workspace, goal_scope(running))).limit == limit
    assert list((await stored(transport, workspace, day_scope(more["now_ms"]))).open) == [goal_scope(running)]
