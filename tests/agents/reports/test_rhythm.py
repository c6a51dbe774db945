"""Issued once, made up for, signed, laid out by date; a failed attestation pauses production."""

from __future__ import annotations

from pathlib import Path

import anyio
import msgspec
import pytest

from interlock.agents.deviations.fold import Deviation
from interlock.agents.replay.code import Code
from interlock.agents.reports.gathering import Sources
from interlock.agents.reports.issuing import STATEMENT, is_signed
from interlock.agents.reports.making import make_report
from interlock.agents.reports.periods import DAY_MS, named, next_end
from interlock.agents.reports.rhythm import REGULAR, Rhythm
from interlock.bus.clock import ManualClock
from interlock.bus.control.giving import give_order, halts_of
from interlock.bus.control.orders import ControlOrder
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.sender import Identity
from interlock.bus.streams import declarations
from interlock.bus.transport import MESSAGE_ID
from interlock.envelope.ids import new_id
from interlock.envelope.keys import SigningKey
from interlock.envelope.trust import Trust
from interlock.envelope.verification import Limits
from tests.agents.audit.histories import KEYS, NOW, WORKSPACE, History, goal_history, make_trust
from tests.agents.conftest import InProcess
from tests.agents.halting.test_flow_halted import all_running

CONFIG = Path(__file__).parents[3] / "config"
TRUST = make_trust()
pytestmark = pytest.mark.anyio


class Trusted:
    trust: Trust = TRUST


def no_code() -> Code:
    raise AssertionError("nothing is replayed here")


async def held(*histories: History) -> MemoryTransport:
    """A broker that holds these, stored when they were said."""
    clock = ManualClock(NOW)
    transport = MemoryTransport(clock)
    await transport.declare(declarations((WORKSPACE,)))
    for history in histories:
        for message, sealed in zip(history.messages, history.sealed, strict=True):
            clock.advance(max(0, message.stored_ms - clock.now_ms()))
            await transport.publish(message.subject, message.data, message_id=sealed.envelope.id)
    return transport


def clock_of(transport: MemoryTransport) -> ManualClock:
    assert isinstance(transport.clock, ManualClock)
    return transport.clock


def rhythm(transport: MemoryTransport, tree: Path | None = None, *deviations: Deviation) -> Rhythm:
    async def known() -> list[Deviation]:
        return list(deviations)

    sources = Sources(transport, WORKSPACE, Trusted(), Limits(), lambda: None, no_code)
    return Rhythm(sources, Identity("auditor", KEYS["auditor"]), CONFIG, "", known, tree)


@pytest.fixture
async def a_day_later(monkeypatch: pytest.MonkeyPatch) -> MemoryTransport:
    """One goal ended, and its day is over; its week is not."""
    monkeypatch.setattr("interlock.agents.reports.gathering.MAX_REPLAYED", 0)
    transport = await held(goal_history())
    clock_of(transport).advance(next_end("day", NOW) - transport.clock.now_ms())
    return transport


async def test_what_is_due_is_issued_once_and_signed(a_day_later: MemoryTransport, tmp_path: Path) -> None:
    transport = a_day_later
    assert await rhythm(transport, tmp_path).make_up() == len(REGULAR["day"])
    assert await rhythm(transport, tmp_path).make_up() == 0
    period = named("day", "2025-11-21")
    names = {path.name for path in (tmp_path / "2025/11/21").iterdir()}
    assert {f"cost-{WORKSPACE}-{period.name}.{suffix}" for suffix in ("json", "md", "html", STATEMENT)} <= names
    data = await transport.get_object("bundles", f"reports/2025/11/21/cost-{WORKSPACE}-{period.name}.json")
    statement = (tmp_path / f"2025/11/21/cost-{WORKSPACE}-{period.name}.{STATEMENT}").read_bytes()
    assert (tmp_path / f"2025/11/21/cost-{WORKSPACE}-{period.name}.json").read_bytes() == data
    assert is_signed(data, statement, TRUST) == ""
    assert is_signed(data + b" ", statement, TRUST) != ""
    assert is_signed(data, statement.replace(b"cost-", b"kost-"), TRUST) != ""
    assert is_signed(data, b"{}", TRUST) != ""
    forged = SigningKey.generate()
    assert is_signed(data, statement.replace(KEYS["auditor"].key_id.encode(), forged.key_id.encode()), TRUST) != ""
    assert msgspec.json.decode(data)["summary"]["goals"] == 1
    page = (tmp_path / f"2025/11/21/cost-{WORKSPACE}-{period.name}.html").read_text()
    assert page.index(">Summary<") < page.index(">Attribution<") < page.index(">Alerts<")


async def test_two_auditors_issue_a_report_once(a_day_later: MemoryTransport) -> None:
    issued: list[int] = []

    async def one() -> None:
        issued.append(await rhythm(a_day_later).make_up())

    async with anyio.create_task_group() as group:
        group.start_soon(one)
        group.start_soon(one)
    assert sum(issued) == len(REGULAR["day"])


async def test_days_of_downtime_are_made_up_for(a_day_later: MemoryTransport) -> None:
    clock_of(a_day_later).advance(3 * DAY_MS)
    weeks = 1  # the third of these midnights begins a Sunday
    wanted = 4 * len(REGULAR["day"]) + weeks * len(REGULAR["week"])
    assert await rhythm(a_day_later).make_up() == wanted
    last = await a_day_later.get_object("bundles", f"reports/2025/11/24/cost-{WORKSPACE}-2025-11-24.json")
    days = msgspec.json.decode(last)["trajectory"]["days"]
    assert [day["date"] for day in days] == ["2025-11-21", "2025-11-22", "2025-11-23", "2025-11-24"]


async def test_where_nothing_ever_ended_nothing_is_due() -> None:
    transport = await held()
    clock_of(transport).advance(40 * DAY_MS)
    assert await rhythm(transport).make_up() == 0


async def test_a_broken_signature_fails_the_attestation_and_pauses_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.agents.reports.gathering.MAX_REPLAYED", 0)
    history = goal_history()
    message, sealed = history.messages[5], history.sealed[5]
    history.messages[5] = msgspec.structs.replace(
        message, data=message.data.replace(b"doing-nothing", b"doing-anything")
    )
    assert history.messages[5].data != sealed.wire
    transport = await held(history)
    clock_of(transport).advance(next_end("week", NOW) - transport.clock.now_ms())
    await rhythm(transport).make_up()
    [order] = (await halts_of(transport, WORKSPACE, TRUST)).in_force
    assert order.scope == "workspace"
    assert "attestation" in order.why
    assert order.by == "auditor"


async def test_after_a_failed_attestation_nothing_runs_until_a_human_resumes(
    quiet_house: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All roles run. A changed copy of a hop comes while its goal runs; the week ends; the next goal waits for a human."""
    house = quiet_house
    monkeypatch.setattr("interlock.agents.reports.gathering.MAX_REPLAYED", 0)
    monkeypatch.setattr("interlock.agents.reports.rhythm.REGULAR", {"week": ("attestation",)})
    paused = {"place": str(house.scratch), "line": "a", "pause_ms": 1_500}

    async def halted() -> dict[str, ControlOrder]:
        found = await halts_of(house.transport, house.workspace, house.keys.trust)
        return {one.scope: one for one in found.in_force}

    async def resume(agent: str, scope: str) -> None:
        await give_order(house.transport, house.workspace, house.identity(agent), "resume", scope, "looked into")

    async def none_open() -> list[Deviation]:
        return []

    async with all_running(house):
        first = (await house.submit(house.goal([{"id": "one", "skill": "appending-line", "input": paused}])))["goalId"]
        [act] = await house.until("HOPS", 1, "role", "executor", first, "act")
        await house.transport.publish(act.subject, act.data.replace(b'"attempt":1', b'"attempt":2'))
        with anyio.fail_after(10):
            while "role:orchestrator" not in await halted():
                await anyio.sleep(0.01)
        await resume("human", "role:orchestrator")
        assert (await house.ended(first)).outcome == "blocked", "nobody releases such a goal"
        with anyio.fail_after(10):
            while "role:gateway" not in await halted():  # the deviation that its compliance log is
                await anyio.sleep(0.01)
        await resume("human", "role:gateway")
        now_ms = house.transport.clock.now_ms()
        with monkeypatch.context() as later:
            later.setattr(Rhythm, "_now_ms", lambda _self: next_end("week", now_ms))
            sources = Sources(house.transport, house.workspace, house.keys, Limits(), lambda: None, no_code)
            await Rhythm(sources, house.identity("auditor"), CONFIG, "", none_open).make_up()
        given = (await halted())["workspace"]
        assert given.by == "auditor" and "is FAIL" in given.why
        goal_id = new_id(now_ms)
        goal = house.goal([{"id": "one", "skill": "doing-nothing", "input": {}}])
        subject = f"interlock.{house.workspace}.goal.submit"
        await house.transport.send(subject, msgspec.json.encode(goal), headers={MESSAGE_ID: goal_id})
        for resumed_by in ("nobody", "auditor"):
            if resumed_by == "auditor":
                await resume("auditor", "workspace")
            with pytest.raises(TimeoutError):
                await house.ended(goal_id, within_s=1)
        await resume("human", "workspace")
        assert (await house.ended(goal_id)).outcome == "released"


async def test_a_strangers_word_ends_no_goal(a_day_later: MemoryTransport) -> None:
    other = goal_history()
    forged = other.messages[-1]
    subject = forged.subject.replace(other.goal_id, "0" * 8 + other.goal_id[8:])
    await a_day_later.publish(subject, forged.data)
    sources = rhythm(a_day_later).sources
    day = named("day", "2025-11-21")
    made = await make_report(sources, "signatures", day, config=CONFIG, region="", deviations=[])
    assert made["summary"]["goals"] == 1


async def test_the_broker_reminds_of_the_next_report(a_day_later: MemoryTransport, tmp_path: Path) -> None:
    transport = a_day_later
    async with rhythm(transport, tmp_path).running():
        with anyio.fail_after(90):
            while len(list(tmp_path.rglob("*.json"))) < 2 * len(REGULAR["day"]):
                await anyio.sleep(0.01)
        clock_of(transport).advance(DAY_MS)
        await transport.settle()
        with anyio.fail_after(90):
            # The last of that midnight, which begins a Sunday: nothing is under way any more.
            while not (tmp_path / "2025/11/22" / f"compliance-{WORKSPACE}-2025-11-22.{STATEMENT}").exists():
                await anyio.sleep(0.01)
