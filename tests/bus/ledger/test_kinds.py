"""The day of a kind of work in the ledger, over both transports: what begins it, what it holds, what ends it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from interlock.bus.hop import Disposition, Hop, Outcome
from interlock.bus.ledger.balance import Answer, Request
from interlock.bus.ledger.client import LedgerClient, goal_scope, kind_scope, open_goal
from interlock.bus.ledger.stage import Charge, budget_layer, granted_budget
from interlock.bus.ledger.writer import LedgerWriter
from interlock.bus.transport import Transport
from interlock.envelope.amounts import Amount, clock_ms, timestamp
from interlock.envelope.kind_quota import KindLimit, KindQuota
from interlock.envelope.verdict import Reason
from tests.bus.ledger.test_writer import DAY, stored
from tests.bus.policy.hops import task_hop

pytestmark = pytest.mark.anyio
QUOTA = KindQuota(kind="summaries", skills=["s"], per_task=KindLimit(cost_usd="0.05"), per_day=KindLimit(actions=3))
ONE = Amount(10, 50_000, 1_000, 1)


class Kinds:
    """What the contract says now."""

    def __init__(self) -> None:
        self.quota: KindQuota | None = QUOTA

    def find(self, name: str) -> KindQuota | None:
        return self.quota if name == "summaries" else None


@asynccontextmanager
async def ledger_of(place: Transport, name: str, kinds: Kinds) -> AsyncIterator[LedgerClient]:
    async with LedgerWriter(place, name, DAY, kinds=kinds.find).running():
        yield LedgerClient(place, name)


def today() -> str:
    return kind_scope("summaries", timestamp(clock_ms()))


async def taken(ledger: LedgerClient, key: str, amount: Amount = ONE, scope: str = "") -> Any:
    request = Request(op="reserve", scope=scope or today(), key=key, amount=amount, expires_ms=clock_ms() + 60_000)
    return await ledger.ask(request)


async def given_back(ledger: LedgerClient, key: str, amount: Amount) -> Any:
    return await ledger.ask(Request(op="settle", scope=today(), key=key, amount=amount))


async def test_a_day_holds_so_many_and_a_writer_that_comes_later_knows_it(transport: Transport, workspace: str) -> None:
    kinds = Kinds()
    async with ledger_of(transport, workspace, kinds) as ledger:
        assert [(await taken(ledger, key)).granted for key in ("a", "b", "b")] == [True, True, True]
        assert (await given_back(ledger, "a", replace(ONE, usd_micro=9_000))).granted
    async with ledger_of(transport, workspace, kinds) as ledger:
        assert (await taken(ledger, "c")).granted
        answer = await taken(ledger, "d")
        assert (answer.granted, answer.reason) == (False, "over_budget")
    balance = await stored(transport, workspace, today())
    assert (balance.used.usd_micro, balance.reserved.actions, balance.refused, balance.breached) == (
        9_000,
        2,
        True,
        False,
    )
    assert balance.alerted == 90


@pytest.mark.parametrize(
    "scope", ["kind.texts.2026-01-01", "kind.summaries", "kind.summaries.x", "kind.summaries.2020-01-01"]
)
async def test_there_is_no_day_of_what_is_no_kind_nor_of_another_time(
    transport: Transport,
    workspace: str,
    scope: str,
) -> None:
    async with ledger_of(transport, workspace, Kinds()) as ledger:
        assert (await taken(ledger, "a", scope=scope)).reason == "unknown_scope"
        assert await transport.last("LEDGER", f"interlock.{workspace}.ledger.{scope}") is None
        for op in ("settle", "renew", "end", "balance"):
            assert (await ledger.ask(Request(op=op, scope=today(), key="a"))).reason == "unknown_scope"


@pytest.mark.parametrize("scope", ["kind.Summaries.2026-01-01", "kind.", "kind..2026-01-01", "kind.a.b.c", "kind.*.x"])
async def test_what_is_no_scope_is_malformed(transport: Transport, workspace: str, scope: str) -> None:
    async with ledger_of(transport, workspace, Kinds()) as ledger:
        assert (await taken(ledger, "a", scope=scope)).reason == "malformed"
        assert (await taken(ledger, "a", Amount(0, -1, 0, 1))).reason == "malformed"


async def test_one_that_cost_too_much_ends_the_day_until_the_limit_is_another(
    transport: Transport,
    workspace: str,
) -> None:
    kinds = Kinds()
    async with ledger_of(transport, workspace, kinds) as ledger:
        assert (await taken(ledger, "a")).granted and (await taken(ledger, "b")).granted
        assert (await given_back(ledger, "a", replace(ONE, usd_micro=50_001))).granted
        assert (await stored(transport, workspace, today())).breached
        answer = await taken(ledger, "c")
        assert (answer.granted, answer.reason) == (False, "breached")
        assert (await given_back(ledger, "b", ONE)).granted, "what runs is settled all the same"
        kinds.quota = replace(QUOTA, per_day=KindLimit(actions=9))
        assert (await taken(ledger, "c")).granted
        kinds.quota = replace(QUOTA, per_day=KindLimit(actions=1))
        assert (await taken(ledger, "d")).reason == "breached", "two have been made already"


async def test_what_is_no_limit_any_more_is_settled_but_not_begun(transport: Transport, workspace: str) -> None:
    kinds = Kinds()
    async with ledger_of(transport, workspace, kinds) as ledger:
        assert (await taken(ledger, "a")).granted
        kinds.quota = None
        assert (await given_back(ledger, "a", replace(ONE, usd_micro=10**9))).granted
        assert not (await stored(transport, workspace, today())).breached


class Flaky:
    """A writer whose word on a kind's day does not come while it is `away`."""

    def __init__(self, writer: LedgerWriter) -> None:
        self._writer = writer
        self.away = True

    async def ask(self, request: Request) -> Answer:
        if self.away and request.scope.startswith("kind."):
            return Answer(granted=False, reason="unavailable", detail="no word")
        return await self._writer.ask(request)


async def test_a_hop_holds_both_or_nothing_and_what_has_no_answer_comes_again(
    transport: Transport, workspace: str
) -> None:
    kinds, now_ms = Kinds(), clock_ms()
    writer = LedgerWriter(transport, workspace, DAY, kinds=kinds.find)
    ledger = Flaky(writer)
    hop = task_hop(budget=replace(ONE, actions=7))
    hop.envelope = replace(hop.envelope, created_at=timestamp(now_ms))
    goal = goal_scope(hop.envelope.goal_id)
    handled: list[Hop] = []

    async def handler(one: Hop) -> Outcome:
        handled.append(one)
        return Outcome(Disposition.DONE, spent=replace(ONE, usd_micro=7))

    handle = budget_layer(ledger, Charge(granted_budget, kind=lambda _: kinds.quota))(handler)
    async with writer.running():
        limit = Amount(10**6, 10**6, 10**6, 10**6)
        assert (await open_goal(writer, hop.envelope.goal_id, limit, now_ms=now_ms, expires_ms=now_ms + 10**6)).granted
        outcome = await handle(hop)
        assert (outcome.disposition, outcome.reason, handled) == (Disposition.RETRY, Reason.LEDGER_UNAVAILABLE, [])
        ledger.away = False
        assert (await handle(hop)).disposition is Disposition.DONE
        for scope, actions in ((goal, 1), (today(), 1)):
            balance = await stored(transport, workspace, scope)
            assert (balance.used, balance.open) == (Amount(10, 7, 1_000, actions), {})
        kinds.quota = replace(QUOTA, per_day=KindLimit(actions=1))
        late = task_hop(budget=ONE)
        late.envelope = replace(late.envelope, created_at=timestamp(now_ms), goal_id=hop.envelope.goal_id)
        outcome = await handle(late)
        assert (outcome.disposition, outcome.reason) == (Disposition.DEAD, Reason.OVER_QUOTA)
        assert "at most 1 actions a day" in outcome.detail
        balance = await stored(transport, workspace, goal)
        assert (balance.open, balance.refused) == ({}, False), "its goal may spend that on something else"
        kinds.quota = replace(QUOTA, per_task=KindLimit(actions=0))
        assert (await handle(late)).reason is Reason.OVER_QUOTA
        assert handled == [hop]
