"""Deviations end to end over the in-memory transport at an injected time: detected by the auditor's recorder, acted upon,
told, escalated, resolved by a human, and the same after a restart. Both sides of the rule on forgeries.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest

from interlock.agents.audit.auditor import AuditorRole
from interlock.agents.audit.log.check import check_log
from interlock.agents.audit.log.recorder import Recorder, RecorderSettings
from interlock.agents.deviations.book import deviation_subject, statement_subject
from interlock.agents.deviations.detect import of_audit
from interlock.agents.deviations.fold import HOUR_MS, MINUTE_MS, Deviation, Event
from interlock.agents.deviations.statement import sign_statement
from interlock.agents.deviations.watch import DeviationWatch
from interlock.bus.clock import ManualClock
from interlock.bus.control.giving import halts_of
from interlock.bus.control.halts import Doing
from interlock.bus.ledger.balance import Request
from interlock.bus.ledger.client import goal_scope, open_goal
from interlock.bus.ledger.writer import LedgerWriter
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.records import SEAL, Seals
from interlock.bus.sender import Identity, Sender
from interlock.bus.streams import declarations
from interlock.bus.tasks import background
from interlock.bus.transport import Message
from interlock.envelope.amounts import Amount
from interlock.envelope.keys import SigningKey
from interlock.envelope.payloads import Ground
from interlock.envelope.signing import seal
from interlock.envelope.trust import Trust
from interlock.envelope.verification import Limits
from tests.agents.audit.histories import GOAL, KEYS, NOW, WORKSPACE, goal_history, make_trust

pytestmark = pytest.mark.anyio


class Holder:
    trust: Trust = make_trust()


class Place:
    """A broker at a standing time with an auditor that may be started again, and a ledger."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW)
        self.transport = MemoryTransport(self.clock)
        self.watch = self.new_watch()

    def new_watch(self, agent: str = "auditor") -> DeviationWatch:
        return DeviationWatch(self.transport, WORKSPACE, Seals(Identity(agent, KEYS[agent]), Holder()))

    @asynccontextmanager
    async def auditing(self) -> AsyncIterator[DeviationWatch]:
        self.watch = self.new_watch()
        sender = Sender(self.transport, Identity("auditor", KEYS["auditor"]), Limits())
        role = AuditorRole(self.transport, WORKSPACE, sender, Holder(), Limits(), detect=self.watch.detect)
        quick = RecorderSettings(window_ms=0, checkpoint_ms=1, pause_ms=1)
        recorder = Recorder(
            self.transport,
            WORKSPACE,
            KEYS["auditor"],
            observe=role.observe,
            notice=self.watch.notice,
            settings=quick,
        )
        async with background() as group:
            group.start_soon(recorder.run)
            yield self.watch
            await self.all_recorded()

    @asynccontextmanager
    async def ledger(self) -> AsyncIterator[LedgerWriter]:
        seals = Seals(Identity("gateway", KEYS["gateway"]), Holder())
        writer = LedgerWriter(self.transport, WORKSPACE, Amount(10**9, 10**9, 10**9, 10**9), seals)
        async with writer.running():
            yield writer

    async def all_recorded(self) -> None:
        with anyio.fail_after(10):
            while True:
                await self.transport.settle()
                found = await check_log(self.transport, WORKSPACE, Holder.trust)
                assert found.ok, found.findings
                if not found.pending:
                    return
                await anyio.sleep(0.001)

    async def later(self, ms: int) -> None:
        self.clock.advance(ms)
        await self.watch.tick()

    async def say(self, by: str = "human", key: SigningKey | None = None, **more: Any) -> None:
        fields: dict[str, Any] = {"verb": "resolve", "why": "mended"} | more
        data = sign_statement(key or KEYS[by], workspace=WORKSPACE, by=by, at_ms=self.clock.now_ms(), **fields)
        await self.transport.publish(statement_subject(WORKSPACE), data)
        await self.watch.tick()

    async def halted(self, doing: Doing) -> bool:
        halts = await halts_of(self.transport, WORKSPACE, Holder.trust)
        return not halts.judge(doing).allowed

    async def found(self, *tokens: str) -> list[Message]:
        subject = ".".join(("interlock", WORKSPACE, "audit", *tokens))
        return [message async for message in self.transport.read("AUDIT", [subject])]

    async def steps(self) -> list[str]:
        return [msgspec.json.decode(message.data, type=Event).step for message in await self.found("deviation")]

    @property
    def only(self) -> Deviation:
        [one] = self.watch.state.values()
        return one

    async def store(self, wire: bytes, message_id: str) -> None:
        sealed = goal_history().sealed[0]
        await self.transport.publish(sealed.envelope.subject, wire, message_id=message_id)
        await self.all_recorded()


@pytest.fixture
async def place() -> Place:
    place = Place()
    await place.transport.declare(declarations((WORKSPACE,)))
    return place


def broken_inside(number: int = 0) -> bytes:
    """A hop that names a trusted key, with another hop's signature."""
    first, second = goal_history().sealed[number : number + 2]
    mine, other = str(first.envelope.signature).encode(), str(second.envelope.signature).encode()
    return first.wire.replace(mine, other)


async def clock_runs(place: Place, deadline_ms: int) -> None:
    """What every kind has in common: acted and alerted at once, a status every half hour, escalation at the deadline."""
    assert (await place.steps())[:3] == ["opened", "acted", "alerted"]
    assert place.only.alerted_ms - place.only.opened_ms <= 5 * MINUTE_MS
    await place.later(29 * MINUTE_MS)
    assert "status" not in await place.steps()
    await place.later(MINUTE_MS)
    assert (await place.steps()).count("status") == 1
    await place.later(deadline_ms - 30 * MINUTE_MS - 1)
    assert "escalated" not in await place.steps()
    await place.later(1)
    assert (await place.steps())[-1] == "escalated"


async def test_a_broken_signature_inside_halts_the_orchestrator(place: Place) -> None:
    async with place.auditing():
        await place.store(broken_inside(), "a")
        assert place.only.kind == "signature_failure"
        assert await place.halted(Doing(agent="orchestrator", goal=GOAL)), "the running cycle could complete"
        assert not await place.halted(Doing(agent="executor", goal=GOAL, sender="gateway"))
        await place.store(broken_inside(1), "b")  # more of the same is the same deviation
        await clock_runs(place, HOUR_MS)
        await place.say(subject=place.only.id, why="the executor's key is replaced")
        assert not place.only.is_open
        assert (place.only.by, place.only.why) == ("human", "the executor's key is replaced")
        assert (await place.steps())[-1] == "resolved"


async def test_a_flood_of_forgeries_by_unknown_keys_halts_nothing(place: Place) -> None:
    async with place.auditing():
        envelope = goal_history().sealed[1].envelope
        for number in range(300):
            forged = seal(envelope, SigningKey.generate())
            await place.transport.publish(envelope.subject, forged.wire, message_id=f"forged-{number}")
        await place.all_recorded()
        assert place.watch.state == {}
        assert len(await place.found("refusal")) == 300, "they are counted"
        assert not await place.halted(Doing(agent="orchestrator", goal=GOAL, sender="gateway"))


async def test_a_flood_inside_opens_one_deviation(place: Place) -> None:
    async with place.auditing():
        for number in range(100):
            subject = goal_history().sealed[0].envelope.subject
            await place.transport.publish(subject, broken_inside(), message_id=f"broken-{number}")
        await place.all_recorded()
        assert (await place.steps()) == ["opened", "acted", "alerted"]


async def test_a_goal_that_reaches_its_limit_is_alerted_halted_and_told(place: Place) -> None:
    async with place.auditing(), place.ledger() as ledger:
        scope, limit = goal_scope(GOAL), Amount(100, 100, 100, 100)
        await open_goal(ledger, GOAL, limit, now_ms=NOW, expires_ms=NOW + 10**7)

        async def reserve(key: str, tokens: int) -> bool:
            asked = Request(op="reserve", scope=scope, key=key, amount=Amount(tokens), expires_ms=NOW + 10**7)
            return (await ledger.ask(asked)).granted

        assert await reserve("a", 79)
        await place.all_recorded()
        assert await place.found("alert", ">") == []
        assert await reserve("b", 2) and await reserve("c", 10) and await reserve("d", 1)
        await place.all_recorded()
        told = [message.subject.split(".")[-1] for message in await place.found("alert", ">")]
        assert told == ["80", "90"], "each once"
        assert place.watch.state == {}
        assert not await reserve("e", 9), "the work does not start"
        await place.all_recorded()
        assert (place.only.kind, place.only.about) == ("cost_breach", f"goal:{GOAL}")
        assert await place.halted(Doing(agent="executor", goal=GOAL))
        assert not await place.halted(Doing(agent="executor", goal="another"))
        await clock_runs(place, 2 * HOUR_MS)
        await place.say(subject=place.only.id)
        assert not await reserve("f", 50)
        await place.all_recorded()
        assert not place.only.is_open, "the same overrun is not told twice"


async def test_a_day_that_cannot_take_one_more_goal_is_no_deviation(place: Place) -> None:
    async with place.auditing(), place.ledger() as ledger:
        answer = await open_goal(ledger, GOAL, Amount(10**10), now_ms=NOW, expires_ms=NOW + 10**7)
        assert not answer.granted
        await place.all_recorded()
        assert place.watch.state == {}


async def test_a_compliance_log_that_fails_closes_the_intake(place: Place) -> None:
    async with place.auditing() as watch:
        ground = Ground(code="over_budget", message="spent 2 of 1 micro-USD", rule="BUS-05")
        await watch.detect(of_audit(GOAL, [ground], 7, NOW))
        assert place.only.kind == "compliance_failure"
        assert await place.halted(Doing(agent="gateway", goal="new")), "a new cycle could begin"
        assert not await place.halted(Doing(agent="executor", goal=GOAL, sender="orchestrator"))
        await clock_runs(place, 4 * HOUR_MS)


@pytest.mark.parametrize("code", ["too_many_hops", "gate_failed", ""])
def test_what_strangers_can_cause_and_what_a_goal_itself_fails_is_no_compliance_deviation(code: str) -> None:
    assert of_audit(GOAL, [Ground(code=code, message="m", rule="r")] if code else [], 1, NOW) is None


async def test_a_replay_below_95_percent_is_told_and_halts_nothing(place: Place) -> None:
    async with place.auditing():
        await place.say(verb="report", subject=GOAL, per_mille=950)
        assert place.watch.state == {}
        await place.say(verb="report", subject=GOAL, per_mille=949)
        assert place.only.kind == "determinism"
        halts = await halts_of(place.transport, WORKSPACE, Holder.trust)
        assert halts.in_force == []
        await clock_runs(place, 24 * HOUR_MS)


@pytest.mark.parametrize(
    ("by", "key", "more"),
    [
        ("auditor", None, {}),  # resolving is for humans
        ("executor", None, {}),
        ("human", "executor", {}),  # another's key
        ("human", "stranger", {}),
        ("executor", None, {"verb": "report", "per_mille": 1}),
    ],
)
async def test_only_a_humans_own_key_resolves(place: Place, by: str, key: str | None, more: dict[str, Any]) -> None:
    async with place.auditing():
        await place.say(verb="report", subject=GOAL, per_mille=0)
        before = place.only
        signing = SigningKey.generate() if key == "stranger" else KEYS[key] if key else None
        await place.say(by, signing, subject=before.id, **more)
        assert place.only == before


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b"[" * 5000, b'{"verb":"resolve"}', b"x" * 10_000])
async def test_noise_among_the_statements_is_passed_over(place: Place, data: bytes) -> None:
    await place.transport.publish(statement_subject(WORKSPACE), data)
    await place.watch.tick()
    await place.say(verb="report", subject=GOAL, per_mille=0)
    assert place.only.is_open


async def test_a_restart_goes_on_from_what_audit_holds(place: Place) -> None:
    async with place.auditing():
        await place.store(broken_inside(), "a")
    before = place.only
    steps = await place.steps()
    place.clock.advance(HOUR_MS)
    async with place.auditing() as watch:
        await watch.tick()
        assert place.only.opened_ms == before.opened_ms, "the clock did not start anew"
        assert (await place.steps()) == [*steps, "status", "escalated"]
        await place.say(subject=before.id)
    async with place.auditing() as watch:
        await watch.tick()
        assert (await place.steps())[-1] == "resolved"
        assert not place.only.is_open


async def test_an_event_that_the_auditor_did_not_seal_does_not_count(place: Place) -> None:
    async with place.auditing():
        await place.store(broken_inside(), "a")
        event = Event(id=place.only.id, step="resolved", at="2025-11-21T05:00:00.000Z", by="human", detail="nothing")
        await place.transport.publish(deviation_subject(WORKSPACE), msgspec.json.encode(event))
        copied = (await place.found("deviation"))[0]
        await place.transport.publish(deviation_subject(WORKSPACE), copied.data, headers={SEAL: copied.headers[SEAL]})
    async with place.auditing() as watch:
        await watch.tick()
        assert place.only.is_open
        await place.later(30 * MINUTE_MS)  # and the book goes on behind it
        assert (await place.steps())[-1] == "status"


async def test_two_auditors_open_one_deviation_and_take_each_step_once(place: Place) -> None:
    other = place.new_watch()
    async with anyio.create_task_group() as group:
        for watch in (place.watch, other):
            found = of_audit(GOAL, [Ground(code="over_budget", message="m", rule="r")], 7, NOW)
            group.start_soon(watch.detect, found)
    assert sorted(await place.steps()) == ["acted", "alerted", "opened"]
    await other.tick()
    assert other.state == place.watch.state
