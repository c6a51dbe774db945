"""What an actor does with hops that a halt stops: no delivery is used up, others go on, nothing is handled twice."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest

from interlock.bus.actor import Actor, ActorSettings
from interlock.bus.backoff import Backoff
from interlock.bus.clock import SystemClock
from interlock.bus.control.excuses import Excuses
from interlock.bus.control.halts import Doing, halted
from interlock.bus.deadletters import DeadLetter
from interlock.bus.hop import DONE, Disposition, Hop, Outcome, Postpone
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.streams import ConsumerSpec, declarations, inbox_of
from interlock.bus.transport import Message, Transport
from interlock.envelope.amounts import ZERO, clock_ms
from interlock.envelope.children import Draft, root
from interlock.envelope.ids import new_id
from interlock.envelope.keys import SigningKey
from interlock.envelope.model import PolicyContext
from interlock.envelope.payloads import Escalation
from interlock.envelope.signing import seal
from interlock.envelope.verdict import ALLOW, Reason, Verdict
from interlock.envelope.verification import decode

pytestmark = pytest.mark.anyio
KEY = SigningKey.generate()


class Switch:
    """A ControlSource that a test turns on and off."""

    until_s = float("inf")

    def __init__(self) -> None:
        self.stops: Callable[[Doing], bool] = lambda doing: False
        self.changed = anyio.Event()

    def verdict(self, doing: Doing) -> Verdict:
        return halted("a test") if self.stops(doing) else ALLOW

    def turn(self, stops: Callable[[Doing], bool]) -> None:
        self.stops, changed, self.changed = stops, self.changed, anyio.Event()
        changed.set()

    async def until_allowed(self, doing: Doing) -> None:
        while self.stops(doing):
            await self.changed.wait()

    async def until_halted(self, doing: Doing, for_ms: int) -> Verdict:
        while not self.stops(doing):
            await self.changed.wait()
        return halted("a test")


@pytest.fixture(params=["memory", pytest.param("jetstream", marks=pytest.mark.nats)])
async def transport(request: pytest.FixtureRequest) -> AsyncIterator[Transport]:
    if request.param == "memory":
        yield MemoryTransport(SystemClock())
        return
    async with JetStreamTransport.connect(request.getfixturevalue("nats_server").url, name="held") as connected:
        yield connected


class Place:
    """An inbox of executors."""

    def __init__(self, transport: Transport, switch: Switch) -> None:
        self.transport = transport
        self.switch = switch
        self.workspace = f"w{uuid.uuid4().hex[:12]}"
        self.delivered: list[tuple[str, int]] = []
        self.again: list[bool] = []
        self.answer: Callable[[Hop], Awaitable[Outcome]] = self.done
        self.consumer = msgspec.structs.replace(inbox_of(self.workspace, "executor"), ack_wait_ms=200)

    async def declare(self, **change: Any) -> None:
        self.consumer = msgspec.structs.replace(self.consumer, **change)
        base = declarations((self.workspace,))
        await self.transport.declare(msgspec.structs.replace(base, consumers=(self.consumer,)))

    async def done(self, hop: Hop) -> Outcome:
        return DONE

    async def handle(self, hop: Hop) -> Outcome:
        found = decode(hop.message.data).envelope
        assert found is not None
        hop.envelope = found
        if not self.switch.verdict(Doing(agent="executor", goal=hop.envelope.goal_id)).allowed:
            return Outcome(Disposition.RETRY, Reason.HALTED, "a test")
        self.again.append(hop.again)
        self.delivered.append((hop.envelope.goal_id, hop.message.delivered))
        return await self.answer(hop)

    @asynccontextmanager
    async def working(
        self, concurrency: int = 2, *, on_dead: Any = None, recognise: Any = None, **settings: Any
    ) -> AsyncIterator[Actor]:
        usual: dict[str, Any] = {
            "concurrency": concurrency,
            "progress_ms": 40,
            "retry": Backoff(first_ms=1, cap_ms=2),
        }
        actor = Actor(
            self.transport,
            workspace=self.workspace,
            role="executor",
            consumer=self.consumer,
            handler=self.handle,
            settings=ActorSettings(**usual | settings),
            control=self.switch,
            on_dead=on_dead,
            recognise=recognise,
        )
        async with actor.running():
            yield actor

    async def put(self, goal_id: str = "") -> str:
        goal_id = goal_id or new_id(clock_ms())
        payload = Escalation(code="x", question="?")
        envelope = root(
            Draft(to="executor", intent="escalate", payload=payload, step="s", budget=ZERO),
            goal_id=goal_id,
            workspace=self.workspace,
            trace_id="a" * 32,
            sender="orchestrator",
            key_id=KEY.key_id,
            now_ms=clock_ms(),
            ttl_ms=60_000,
            policy_context=PolicyContext(policy_bundle="", contract_ref="", capabilities=[]),
            compliance_tags=[],
        )
        sealed = seal(envelope, KEY)
        await self.transport.publish(envelope.subject, sealed.wire, message_id=envelope.id)
        return goal_id

    async def until(self, condition: Callable[[], bool]) -> None:
        with anyio.fail_after(10):
            while not condition():
                await anyio.sleep(0.005)

    async def dead(self) -> list[DeadLetter]:
        subject = f"interlock.{self.workspace}.dead.>"
        return [msgspec.json.decode(one.data, type=DeadLetter) async for one in self.transport.read("DEAD", [subject])]


@pytest.fixture
async def place(transport: Transport) -> Place:
    return Place(transport, Switch())


async def test_a_hop_held_for_many_times_the_ack_wait_is_delivered_once(place: Place) -> None:
    await place.declare(max_deliver=2, attempts=2)
    place.switch.turn(lambda doing: bool(doing.goal))
    async with place.working():
        goal_id = await place.put()
        with anyio.move_on_after(1.5):
            await place.until(lambda: bool(place.delivered))
        assert place.delivered == []
        place.switch.turn(lambda doing: False)
        await place.until(lambda: bool(place.delivered))
        with anyio.move_on_after(0.5):
            await place.until(lambda: len(place.delivered) > 1)
    assert place.delivered == [(goal_id, 1)]
    assert place.again == [True], "whoever skips work for a first delivery must know that this is not one"
    assert await place.dead() == []


async def test_held_hops_do_not_stand_in_the_way_of_others(place: Place) -> None:
    await place.declare()
    halted_goals = {new_id(clock_ms()) for _ in range(10)}
    place.switch.turn(lambda doing: doing.goal in halted_goals)
    async with place.working(concurrency=2):
        for goal_id in halted_goals:
            await place.put(goal_id)
        free = await place.put()
        await place.until(lambda: bool(place.delivered))
        assert place.delivered == [(free, 1)]
        place.switch.turn(lambda doing: False)
        await place.until(lambda: len(place.delivered) == 11)
    assert {goal_id for goal_id, _ in place.delivered} == {free, *halted_goals}


@pytest.mark.parametrize("bound", [{"max_held": 3}, {"max_held_bytes": 5_000}])
async def test_no_more_is_held_than_the_bound(place: Place, bound: dict[str, int]) -> None:
    await place.declare(max_ack_pending=64)
    place.switch.turn(lambda doing: bool(doing.goal))
    async with place.working(concurrency=2, **bound) as actor:
        for _ in range(12):
            await place.put()
        await place.until(lambda: len(actor._in_hand) >= 4)
        with anyio.move_on_after(0.3):
            await place.until(lambda: len(actor._in_hand) > 7)
        assert len(actor._in_hand) <= 7
        place.switch.turn(lambda doing: False)
        await place.until(lambda: len(place.delivered) == 12)
    assert len(set(place.delivered)) == 12


async def test_who_is_halted_himself_fetches_no_more_than_he_has_workers(place: Place) -> None:
    await place.declare()
    place.switch.turn(lambda doing: True)
    async with place.working(concurrency=2) as actor:
        for _ in range(6):
            await place.put()
        await place.until(lambda: len(actor._in_hand) == 2)
        with anyio.move_on_after(0.3):
            await place.until(lambda: len(actor._in_hand) > 2)
        assert len(actor._in_hand) == 2
        place.switch.turn(lambda doing: False)
        await place.until(lambda: len(place.delivered) == 6)


async def test_hops_of_a_halted_goal_make_way_when_the_rest_is_resumed(place: Place) -> None:
    await place.declare()
    halted_goals = {new_id(clock_ms()) for _ in range(4)}
    place.switch.turn(lambda doing: True)
    async with place.working(concurrency=2) as actor:
        for goal_id in halted_goals:
            await place.put(goal_id)
        free = await place.put()
        await place.until(lambda: len(actor._in_hand) == 2)
        place.switch.turn(lambda doing: doing.goal in halted_goals)
        await place.until(lambda: bool(place.delivered))
        assert [goal_id for goal_id, _ in place.delivered] == [free]


async def test_instances_that_end_while_they_hold_a_hop_use_up_none_of_its_attempts(place: Place) -> None:
    await place.declare(attempts=3, max_deliver=50, ack_wait_ms=100)
    place.switch.turn(lambda doing: bool(doing.goal))
    goal_id = await place.put()
    for _ in range(6):
        async with place.working() as actor:
            await place.until(lambda: bool(actor._in_hand))
            await place.until(lambda: bool(actor._held))
    place.switch.turn(lambda doing: False)
    failures = 2

    async def fail_at_first(hop: Hop) -> Outcome:
        if len(place.delivered) <= failures:
            raise Postpone(Reason.HANDLER_FAILED, "not yet")
        return DONE

    place.answer = fail_at_first
    async with place.working():
        await place.until(lambda: len(place.delivered) == failures + 1)
    assert {goal for goal, _ in place.delivered} == {goal_id}
    assert place.delivered[0][1] > 6
    assert await place.dead() == []


async def test_what_keeps_failing_is_given_up_after_its_attempts(place: Place) -> None:
    await place.declare(attempts=3, max_deliver=50)

    async def fail(hop: Hop) -> Outcome:
        raise Postpone(Reason.HANDLER_FAILED, "never")

    place.answer = fail
    async with place.working():
        await place.put()
        with anyio.fail_after(10):
            while not (letters := await place.dead()):
                await anyio.sleep(0.005)
    assert [letter.reason for letter in letters] == ["max_deliveries"]
    assert len(place.delivered) == 3


async def test_what_was_never_answered_is_given_up_without_being_tried_again(place: Place) -> None:
    """A hop that kills who handles it: its deliveries count although nobody lived to say so."""
    await place.declare(attempts=2, max_deliver=50, ack_wait_ms=50)
    await place.put()

    async def hang(hop: Hop) -> Outcome:
        await anyio.sleep_forever()
        return DONE

    place.answer = hang
    for count in (1, 2):
        async with place.working():
            await place.until(lambda: len(place.delivered) == count)  # noqa: B023 - called at once
    async with place.working():
        with anyio.fail_after(10):
            while not (letters := await place.dead()):
                await anyio.sleep(0.005)
    assert [letter.reason for letter in letters] == ["max_deliveries"]
    assert "never answered" in letters[0].detail
    assert len(place.delivered) == 2


async def test_a_hop_waits_for_an_open_circuit_however_long_it_rests(place: Place) -> None:
    await place.declare()

    async def answer(hop: Hop) -> Outcome:
        rests = hop.message.delivered <= 20
        return Outcome(Disposition.RETRY, Reason.CIRCUIT_OPEN, "it rests") if rests else DONE

    place.answer = answer
    async with place.working(rest_ms=1):
        await place.put()
        await place.until(lambda: len(place.delivered) == 21)
    assert await place.dead() == []


async def test_what_fails_whenever_its_circuit_lets_it_try_is_given_up(place: Place) -> None:
    await place.declare()
    tried: list[int] = []

    async def answer(hop: Hop) -> Outcome:
        if hop.message.delivered % 3:
            return Outcome(Disposition.RETRY, Reason.CIRCUIT_OPEN, "it rests")
        tried.append(hop.message.delivered)
        return Outcome(Disposition.RETRY, Reason.HANDLER_FAILED, "it fails")

    place.answer = answer
    async with place.working(rest_ms=1):
        await place.put()
        with anyio.fail_after(10):
            while not (dead := await place.dead()):
                await anyio.sleep(0.005)
    assert [letter.reason for letter in dead] == ["max_deliveries"]
    assert len(tried) == 8, "as often as any other"


async def test_excuses_count_up_to_the_last_delivery_that_met_a_halt(transport: Transport) -> None:
    workspace = f"w{uuid.uuid4().hex[:12]}"
    await transport.declare(declarations((workspace,)))
    excuses = Excuses(transport, workspace, "executor")

    def delivery(number: int) -> Message:
        return Message("s", b"", sequence=7, delivered=number)

    assert await excuses.attempts(delivery(9), 8) == 9
    await excuses.note(delivery(1))
    assert await excuses.attempts(delivery(9), 8) == 9
    await excuses.note(delivery(5))
    assert [await excuses.attempts(delivery(number), 8) for number in (3, 7, 8, 9, 13)] == [3, 7, 3, 4, 8]
    assert await Excuses(transport, workspace, "evaluator").attempts(delivery(9), 8) == 9


def test_inboxes_leave_room_for_halted_hops_and_for_the_deliveries_of_a_long_halt() -> None:
    spec: ConsumerSpec = inbox_of("w", "executor")
    assert spec.max_ack_pending > 2 * ActorSettings().max_held
    assert spec.max_deliver > 10 * spec.attempts > 0


async def test_whoever_waits_for_what_was_never_answered_is_told(place: Place) -> None:
    """Found by a campaign: such a hop was not read, so nobody was told, and its goal waited for its deadline."""
    await place.declare(attempts=1, max_deliver=50, ack_wait_ms=50)
    await place.put()
    told: list[str] = []

    async def hang(hop: Hop) -> Outcome:
        await anyio.sleep_forever()
        return DONE

    async def tell(hop: Hop, outcome: Outcome) -> None:
        told.append(f"{outcome.reason} {hop.envelope.intent}")

    def recognise(hop: Hop) -> None:
        found = decode(hop.message.data).envelope
        assert found is not None
        hop.envelope, hop.authentic = found, True

    place.answer = hang
    async with place.working():
        await place.until(lambda: len(place.delivered) == 1)
    async with place.working(on_dead=tell, recognise=recognise):
        with anyio.fail_after(10):
            while not await place.dead():
                await anyio.sleep(0.005)
    assert told == ["max_deliveries escalate"]
