"""Goals whose tasks are of a kind that the contract limits, all roles running, over both transports."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from interlock.agents.deviations.book import Book
from interlock.agents.orchestration import orchestrator
from interlock.agents.replay.code import load_code
from interlock.agents.replay.compare import ReplayReport
from interlock.agents.replay.decide import replay
from interlock.agents.replay.recording import from_stream
from interlock.bus.deadletters import DeadLetter
from interlock.bus.ledger.balance import Balance
from interlock.bus.ledger.client import kind_scope
from interlock.bus.records import Seals
from interlock.envelope.amounts import clock_ms, timestamp
from interlock.envelope.kind_quota import KindLimit, KindQuota
from tests.agents.conftest import CONFIG, HERE

pytestmark = pytest.mark.anyio
NOTHING, ANY = "doing-nothing", KindLimit()


def limited(house: Any, per_task: KindLimit = ANY, per_day: KindLimit = ANY) -> None:
    quota = KindQuota(kind="nothings", skills=["doing-*"], per_task=per_task, per_day=per_day)
    house.keys.change_contract(quotas=replace(house.keys.chain.head.contract.quotas, kinds=[quota]))


def tasks(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"id": f"t{n}", "skill": NOTHING, "after": [f"t{n - 1}"] if n else []} | more for n in range(count)]


async def balance_of(house: Any) -> Balance:
    (*_, last) = await house.messages("LEDGER", "ledger", kind_scope("nothings", timestamp(clock_ms())))
    return msgspec.json.decode(last.data, type=Balance)


async def test_work_of_a_kind_is_granted_what_one_may_cost_and_counted(house: Any) -> None:
    limited(house, KindLimit(cost_usd="0.05", wall_ms=60_000), KindLimit(actions=100))
    status = await house.run(house.goal([*tasks(3), {"id": "other", "skill": "echoing-input"}]))
    assert status.outcome == "released", status.grounds
    acts = await house.messages("HOPS", "role", "executor", status.goal_id, "act")
    granted = {one["payload"]["taskId"]: one["budget"] for one in (msgspec.json.decode(act.data) for act in acts)}
    assert {granted[f"t{n}"]["costUSD"] for n in range(3)} == {"0.05"}
    assert {granted[f"t{n}"]["wallMs"] for n in range(3)} == {60_000}
    assert float(granted["other"]["costUSD"]) > 0.05, "what is of no kind has its share"
    balance = await balance_of(house)
    assert (balance.used.actions, balance.open, balance.breached) == (3, {}, False)


async def test_what_states_more_than_one_may_cost_is_not_sent(house: Any) -> None:
    limited(house, KindLimit(cost_usd="0.05"))
    more = {"budget": {"costUSD": "0.06", "wallMs": 1_000, "actions": 1}}
    status = await house.run(house.goal(tasks(1, **more)))
    assert (status.outcome, [ground.code for ground in status.grounds]) == ("blocked", ["over_quota"])
    assert "at most 0.05 USD" in status.grounds[0].message
    assert await house.messages("HOPS", "role", "executor", status.goal_id, "act") == []


async def test_the_day_holds_so_many_and_the_next_does_not_start(house: Any) -> None:
    limited(house, per_day=KindLimit(actions=2))
    assert (await house.run(house.goal(tasks(2)))).outcome == "released"
    status = await house.run(house.goal(tasks(1)))
    assert status.outcome == "blocked" and "over_quota" in [ground.code for ground in status.grounds]
    (dead,) = await house.messages("DEAD", "dead", "executor", ">")
    letter = msgspec.json.decode(dead.data, type=DeadLetter)
    assert letter.reason == "over_quota" and "holds no more: at most 2 actions a day" in letter.detail
    balance = await balance_of(house)
    assert (balance.used.actions, balance.refused, balance.alerted) == (2, True, 90)
    await house.until("AUDIT", 1, "audit", "alert", "kind", "nothings", "*", "90")
    assert (await house.run(house.goal([{"id": "a", "skill": "echoing-input"}]))).outcome == "released"
    report = await replayed(house, status.goal_id)
    assert report.first is None and report.equal == report.decisions


async def replayed(house: Any, goal_id: str) -> ReplayReport:
    await house.audited(goal_id)
    code = load_code(
        CONFIG, skills=(HERE / "skills",), playbooks=(), workspace=house.workspace, environment="development"
    )
    parts, chain = house.parts("orchestrator"), house.keys.chain
    recording = await from_stream(
        house.transport, house.workspace, goal_id, seals=parts.seals, chain=chain, limits=parts.limits, ended=True
    )
    return replay(recording, code)


async def test_a_goal_replays_as_it_went_also_when_the_limits_are_others_by_then(house: Any) -> None:
    limited(house, KindLimit(cost_usd="0.05"), KindLimit(actions=100))
    status = await house.run(house.goal(tasks(3)))
    limited(house, KindLimit(cost_usd="0.01"), KindLimit(actions=1))
    report = await replayed(house, status.goal_id)
    assert report.first is None and report.equal == report.decisions


async def test_an_executor_runs_nothing_that_was_granted_more_than_one_may_cost(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its orchestrator thinks of it: one that knows of no kinds grants each task its share."""
    monkeypatch.setattr(orchestrator, "kinds_of", lambda chain, ref: [])
    limited(house, KindLimit(cost_usd="0.05"))
    status = await house.run(house.goal(tasks(1)))
    assert status.outcome == "blocked" and "over_quota" in [ground.code for ground in status.grounds]
    assert "granted 0.75 USD" in str(status.grounds)
    assert await house.messages("LEDGER", "ledger", "kind", ">") == []


async def test_one_that_cost_too_much_is_a_deviation_and_the_last_of_its_day(house: Any) -> None:
    limited(house, KindLimit(cost_usd="0"))
    first = await house.run(house.goal(tasks(1)))
    assert first.outcome == "released", first.grounds
    assert (await balance_of(house)).breached
    await house.until("AUDIT", 1, "audit", "deviation")
    book = Book(house.transport, house.workspace, Seals(house.identity("auditor"), house.keys))
    (one,) = (await book.refresh()).values()
    day = timestamp(clock_ms())[:10]
    assert (one.kind, one.about, one.halts) == ("cost_breach", f"kind:nothings.{day}", "")
    second = await house.run(house.goal(tasks(1)))
    assert second.outcome == "blocked" and "cost more than one may" in str(second.grounds)
