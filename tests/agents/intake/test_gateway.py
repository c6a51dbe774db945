"""The gateway: whatever a stranger publishes is answered or kept, nothing of it reaches where strangers may not, and a
redelivery or a crash never makes a second goal.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest
from msgspec.structs import replace

from interlock.agents.contract.configuration import configuration_digests
from interlock.agents.intake.gateway import NEVER_ANSWERED
from interlock.agents.intake.handed_in import goal_id_of, stored_bytes
from interlock.agents.intake.replies import MAX_WAITING, WAIT_MS, Replies, may_answer
from interlock.agents.telemetry.telemetry import Telemetry
from interlock.agents.wiring import running
from interlock.bus.clock import ManualClock, SystemClock
from interlock.bus.deadletters import DeadLetter
from interlock.bus.errors import Unavailable
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.streams import GOALS, declarations
from interlock.bus.telemetry.hops import HopCounts
from interlock.bus.transport import MESSAGE_ID, Incoming, Message, OnIncoming, PubAck
from interlock.envelope.amounts import Amount, clock_ms, time_ms, timestamp
from interlock.envelope.ids import id_time_ms, is_uuid7, new_id
from interlock.envelope.model import Envelope
from interlock.envelope.signing import has_valid_signature
from tests.agents.conftest import CONFIG, InProcess, Keys

pytestmark = pytest.mark.anyio
TASKS = [{"id": "a", "skill": "doing-nothing"}]


def root_of(messages: list[Message]) -> Envelope:
    assert len(messages) == 1
    return msgspec.json.decode(messages[0].data, type=Envelope)


async def roots(house: InProcess, goal_id: str = "*") -> list[Message]:
    return await house.messages("HOPS", "role", "orchestrator", goal_id, "plan")


async def letters(house: InProcess, count: int) -> list[DeadLetter]:
    return [msgspec.json.decode(found.data, type=DeadLetter) for found in await house.until("DEAD", count, "dead", ">")]


@pytest.fixture
async def gateway(quiet_house: InProcess) -> AsyncIterator[InProcess]:
    """Only the gateway runs, so that its first envelopes stay as it published them."""
    async with running("gateway", quiet_house.parts("gateway")):
        yield quiet_house


async def test_what_is_handed_in_is_counted_as_the_gateways_hops(quiet_house: InProcess) -> None:
    """`interlock agents` showed none, however many goals came."""
    counts = HopCounts()
    async with running("gateway", quiet_house.parts("gateway", telemetry=Telemetry(counts=counts))):
        assert "goalId" in await quiet_house.submit(quiet_house.goal(TASKS))
        assert (counts.handled, counts.not_done, counts.last_problem) == (1, 0, "")
        assert "errors" in await quiet_house.submit(b"{}")
    assert (counts.handled, counts.not_done, counts.last_problem) == (2, 1, "invalid_intake")
    assert counts.busy_ns > 0


async def test_the_first_envelope_holds_the_whole_budget(gateway: InProcess) -> None:
    answer = await gateway.submit(gateway.goal(TASKS))
    assert (answer["workspace"], answer["stream"]) == (gateway.workspace, "GOALS")
    envelope = root_of(await roots(gateway))
    assert has_valid_signature(envelope)
    assert envelope.goal_id == answer["goalId"]
    assert envelope.budget.cost_usd == "1"
    assert (envelope.ttl_ms, envelope.compliance_tags) == (3_600_000, ["data:internal"])
    assert envelope.policy_context.policy_bundle == configuration_digests(CONFIG).policy_bundle
    assert len(envelope.trace_id) == 32


@pytest.mark.parametrize(
    "reply",
    [
        "interlock.{w}.ledger.day.2026-11-21",
        "interlock.{w}.role.executor.01900000-0000-7000-8000-000000000000.act",
        "interlock.{w}.audit.x",
        "interlock.{w}.goal.submit",
        "$KV.goals.x",
        "$JS.API.STREAM.PURGE.GOALS",
    ],
)
async def test_answers_never_go_where_strangers_may_not_publish(gateway: InProcess, reply: str) -> None:
    """A publisher chooses the reply subject; the gateway must not write the ledger for it."""
    subject = f"interlock.{gateway.workspace}.goal.submit"
    await gateway.transport.send(subject, b"not json", reply=reply.format(w=gateway.workspace))
    assert (await letters(gateway, 1))[0].original == b"not json"
    for stream in ("LEDGER", "AUDIT", "HOPS"):
        assert await gateway.messages(stream, ">") == []
    assert len(await gateway.messages("GOALS", "goal", ">")) == 1
    assert "goalId" in await gateway.submit(gateway.goal(TASKS))


@pytest.mark.parametrize("name", ["other", "submit.more", "SUBMIT"])
async def test_what_lies_beside_goals_is_answered_and_taken_for_no_goal(gateway: InProcess, name: str) -> None:
    """Such as a subject misspelt: the stream takes whatever is below `goal.`."""
    subject, data = f"interlock.{gateway.workspace}.goal.{name}", msgspec.json.encode(gateway.goal(TASKS))
    goal_id = new_id(clock_ms())
    answer = await gateway.transport.request(subject, data, timeout_ms=10_000, headers={MESSAGE_ID: goal_id})
    (error,) = msgspec.json.decode(answer.data)["errors"]
    assert (error["path"], subject in error["message"]) == ("$", True)
    assert f"a goal goes to interlock.{gateway.workspace}.goal.submit" in error["message"]
    (letter,) = await letters(gateway, 1)
    assert (letter.reason, letter.subject, letter.original) == ("invalid_intake", subject, data)
    assert await roots(gateway) == []
    await gateway.past_dedupe()
    assert (await gateway.submit(gateway.goal(TASKS), goal_id))["goalId"] == goal_id


async def test_a_stray_never_has_the_gateway_write_where_strangers_may_not(gateway: InProcess) -> None:
    subject = f"interlock.{gateway.workspace}.goal.other"
    await gateway.transport.send(subject, b"x", reply=f"interlock.{gateway.workspace}.ledger.day.2026-11-21")
    assert (await letters(gateway, 1))[0].original == b"x"
    assert await gateway.messages("LEDGER", ">") == []


def test_replies_that_may_be_answered() -> None:
    assert all(map(may_answer, ("_INBOX.abc", "_INBOX_human.x.1", "my.answers", "interlockx.a")))
    refused = ("", "interlock", "interlock.a", "$SYS.x", "a..b", "a.*.b", "a.>", "a b", "a\n", ".", "x" * 257)
    assert not any(map(may_answer, refused))


async def test_what_the_stream_does_not_take_is_answered_all_the_same(gateway: InProcess) -> None:
    large = b'{"goal": "' + b"x" * GOALS.max_message_bytes + b'"}'
    answer = await gateway.submit(large)
    assert "more than a stream takes" in answer["errors"][0]["message"]
    for _ in range(3):
        await gateway.transport.send(f"interlock.{gateway.workspace}.goal.submit", large)
    letter = (await letters(gateway, 1))[0]
    assert letter.sequence == 0
    assert large.startswith(letter.original)
    assert "goalId" in await gateway.submit(gateway.goal(TASKS))
    assert len(await gateway.messages("DEAD", "dead", ">")) == 1, (
        "nobody may fill the stream of dead letters with these"
    )


async def test_a_goal_that_grows_too_large_is_answered(gateway: InProcess) -> None:
    answer = await gateway.submit(gateway.goal(TASKS, stakeholders=["a"] * 40_000))
    assert "with all defaults" in answer["errors"][0]["message"]


@pytest.mark.parametrize("chosen", ["", "x", "*", "a b", "é", "\x07", "x" * 5_000])
async def test_odd_message_ids_are_no_goal_ids(gateway: InProcess, chosen: str) -> None:
    answer = await gateway.submit(gateway.goal(TASKS), chosen or " ")
    assert is_uuid7(answer["goalId"])
    assert root_of(await roots(gateway)).goal_id == answer["goalId"]


async def test_asking_again_gives_the_same_answer(gateway: InProcess) -> None:
    """The broker drops the repeat; its submitter is answered all the same."""
    goal, goal_id = gateway.goal(TASKS), new_id(clock_ms())
    answers = [await gateway.submit(goal, goal_id) for _ in range(3)]
    assert answers == [answers[0]] * 3
    assert answers[0]["goalId"] == goal_id
    bad = [await gateway.submit(b"{}", new_id(clock_ms())) for _ in range(2)]
    assert bad[0] == bad[1]
    assert len(await roots(gateway)) == 1


async def test_a_stranger_cannot_take_the_id_of_another_goal(quiet_house: InProcess) -> None:
    """Beyond the broker's memory of message ids: the id is compared with what already stands."""
    house, clock = at_rest(quiet_house)
    first, second, goal_id = house.goal(TASKS), house.goal(TASKS, goal="something else"), new_id(clock.now_ms())
    async with answers(house) as told, running("gateway", house.parts("gateway")):
        for goal, code in ((first, "goalId"), (second, "errors"), (first, "goalId")):
            clock.advance(GOALS.dedupe_ms + 1)
            await submit(house, goal, goal_id)
            assert code in told.pop()
    assert root_of(await roots(house)).payload.goal == first["goal"]  # type: ignore[union-attr]


async def test_goals_of_other_workspaces_are_left_alone(gateway: InProcess) -> None:
    other = f"w{uuid.uuid4().hex[:12]}"
    for workspace in (other, "*", gateway.workspace.upper()):
        await gateway.transport.send(f"interlock.{workspace}.goal.submit", b"{}")
    assert "goalId" in await gateway.submit(gateway.goal(TASKS))
    assert await gateway.messages("DEAD", "dead", ">") == []
    assert len(await roots(gateway)) == 1


async def test_the_day_limit_is_told(quiet_house: InProcess) -> None:
    parts = replace(quiet_house.parts("gateway"), day_limit=Amount(10**9, 1_500_000, 10**9, 10**6))
    async with running("gateway", parts):
        assert "goalId" in await quiet_house.submit(quiet_house.goal(TASKS))
        answer = await quiet_house.submit(quiet_house.goal(TASKS))
        assert [error["path"] for error in answer["errors"]] == ["$.budget_limits"]
        assert "goalId" in await quiet_house.submit(
            quiet_house.goal(TASKS, budget_limits={"costUSD": 0.5, "actions": 1})
        )
    assert len(await roots(quiet_house)) == 2


async def test_two_gateways_take_each_goal_in_once(quiet_house: InProcess) -> None:
    house = quiet_house
    async with running("gateway", house.parts("gateway")), running("gateway", house.parts("gateway")):
        told: list[dict[str, Any]] = []

        async def one(number: int) -> None:
            goal = house.goal(TASKS, goal=f"goal {number % 7}") if number % 3 else b"bad %d" % number
            told.append(await house.submit(goal))

        async with anyio.create_task_group() as group:
            for number in range(30):
                group.start_soon(one, number)
        assert sum("goalId" in answer for answer in told) == 20
        assert len({answer.get("goalId") for answer in told}) == 21
        assert len(await roots(house)) == 20
        assert await house.messages("DEAD", "dead", ">") == []


def at_rest(house: InProcess) -> tuple[InProcess, ManualClock]:
    """The same house in memory, at the time of a clock that stands still."""
    clock = ManualClock(clock_ms())
    return InProcess(MemoryTransport(clock), house.workspace, house.keys, house.scratch), clock


@pytest.fixture
async def memory(tmp_path: Any) -> InProcess:
    house = InProcess(MemoryTransport(ManualClock(clock_ms())), "w", Keys("w"), tmp_path)
    await house.transport.declare(declarations(("w",)))
    return house


@asynccontextmanager
async def answers(house: InProcess) -> AsyncIterator[list[dict[str, Any]]]:
    told: list[dict[str, Any]] = []

    async def on_answer(message: Message) -> None:
        told.append(msgspec.json.decode(message.data))

    if not isinstance(house.transport, MemoryTransport):
        raise TypeError("only in memory")
    await house.transport.declare(declarations((house.workspace,)))
    async with house.transport.subscribe("answers", on_answer):
        yield told


async def submit(house: InProcess, goal: dict[str, Any], goal_id: str = "", reply: str = "answers") -> None:
    transport = house.transport
    assert isinstance(transport, MemoryTransport)
    headers = {MESSAGE_ID: goal_id} if goal_id else {}
    await transport.send(
        f"interlock.{house.workspace}.goal.submit", msgspec.json.encode(goal), headers=headers, reply=reply
    )
    with anyio.fail_after(10):
        await transport.settle()


class Forgetful(MemoryTransport):
    """A connection that loses the first acknowledgement, as a crash between publishing and acknowledging does."""

    lost = 0

    def consume(self, consumer: Any, on_incoming: OnIncoming, *, concurrency: int) -> Any:
        async def hand_on(incoming: Incoming) -> None:
            await on_incoming(self._deaf(incoming) if self.lost == 0 else incoming)

        return super().consume(consumer, hand_on, concurrency=concurrency)

    def _deaf(self, incoming: Incoming) -> Any:
        self.lost += 1

        class Deaf:
            message = incoming.message

            async def ack(self) -> None:
                return

        return Deaf()


class Mortal(MemoryTransport):
    """The connection of gateways that die of a goal: it is delivered again and again."""

    def consume(self, consumer: Any, on_incoming: OnIncoming, *, concurrency: int) -> Any:
        async def hand_on(incoming: Incoming) -> None:
            if incoming.message.delivered > 8:
                await on_incoming(incoming)

        return super().consume(consumer, hand_on, concurrency=concurrency)


async def test_a_goal_of_which_gateways_die_is_a_dead_letter_in_the_end(memory: InProcess) -> None:
    """Found by a campaign: at its last delivery such a goal was left in the stream, and nobody was told."""
    clock = memory.transport.clock
    assert isinstance(clock, ManualClock)
    assert isinstance(memory.transport, MemoryTransport)
    mortal = Mortal(clock, memory.transport.broker)
    async with running("gateway", memory.parts("gateway", mortal)):
        await submit(memory, memory.goal(TASKS), reply="")
        for _ in range(10):
            clock.advance(11_000)
            await mortal.settle()
        (letter,) = await letters(memory, 1)
        assert NEVER_ANSWERED in letter.detail
    assert await roots(memory) == []


@pytest.mark.parametrize("chosen", [True, False])
async def test_a_crash_between_publish_and_acknowledgement_makes_no_second_goal(
    memory: InProcess, chosen: bool
) -> None:
    clock = memory.transport.clock
    assert isinstance(clock, ManualClock)
    assert isinstance(memory.transport, MemoryTransport)
    forgetful = Forgetful(clock, memory.transport.broker)
    async with answers(memory) as told, running("gateway", memory.parts("gateway", forgetful)):
        await submit(memory, memory.goal(TASKS), new_id(clock.now_ms()) if chosen else "")
        for _ in range(3):
            clock.advance(70_000)
            await forgetful.settle()
        assert forgetful.lost == 1
        assert len(told) == 1
        assert root_of(await roots(memory)).goal_id == told[0]["goalId"]
    assert await memory.messages("DEAD", "dead", ">") == []


async def test_a_goal_that_waited_for_a_gateway_gets_its_whole_time(memory: InProcess) -> None:
    clock = memory.transport.clock
    assert isinstance(clock, ManualClock)
    await submit(memory, memory.goal(TASKS), reply="")
    clock.advance(3_600_000)
    async with running("gateway", memory.parts("gateway")):
        await submit(memory, memory.goal(TASKS, goal="another"))
    times = {time_ms(msgspec.json.decode(found.data, type=Envelope).created_at) for found in await roots(memory)}
    assert times == {clock.now_ms()}


async def test_a_deadline_bounds_the_time_of_a_goal(memory: InProcess) -> None:
    clock = memory.transport.clock
    assert isinstance(clock, ManualClock)
    async with running("gateway", memory.parts("gateway")):
        await submit(memory, memory.goal(TASKS, deadline=timestamp(clock.now_ms() + 5_000)))
        assert root_of(await roots(memory)).ttl_ms == 65_000
        clock.advance(1)
        await submit(memory, memory.goal(TASKS, deadline=timestamp(clock.now_ms() + 3_600_000)))
        assert max(msgspec.json.decode(root.data)["ttlMs"] for root in await roots(memory)) == 3_600_000


class Full(MemoryTransport):
    """A connection whose broker takes no hops."""

    async def publish(self, subject: str, data: bytes, **more: Any) -> PubAck:
        if ".role." in subject:
            raise Unavailable("no stream leader")
        return await super().publish(subject, data, **more)


@pytest.mark.parametrize("reply", ["answers", ""])
async def test_what_cannot_be_published_is_told_at_the_last_delivery(memory: InProcess, reply: str) -> None:
    clock = memory.transport.clock
    assert isinstance(clock, ManualClock)
    assert isinstance(memory.transport, MemoryTransport)
    full = Full(clock, memory.transport.broker)
    async with answers(memory) as told, running("gateway", memory.parts("gateway", full)):
        await submit(memory, memory.goal(TASKS), reply=reply)
        assert told == []
        for _ in range(30):
            clock.advance(1_500)
            await full.settle()
        found = await letters(memory, 0 if reply else 1)
        if reply:
            assert "no stream leader" in told[0]["errors"][0]["message"]
            assert (len(told), found) == (1, [])
        else:
            assert [letter.delivered for letter in found] == [8]
            assert "no stream leader" in found[0].detail


def test_replies_are_bounded_in_time_and_number() -> None:
    replies = Replies()
    asked = Message("s", b"x", reply="inbox.1")
    replies.ask(asked, 0)
    assert replies.take(asked, WAIT_MS) == [], "an old wish must not be fulfilled by a new goal"
    for number in range(MAX_WAITING * 2):
        replies.ask(Message("s", b"%d" % (number % 3), reply=f"inbox.{number}"), 0)
    waiting = [
        reply
        for data in (b"0", b"1", b"2")
        for _ in range(MAX_WAITING)
        if (reply := replies.take(Message("s", data), 1))
    ]
    assert 0 < len(waiting) <= MAX_WAITING
    assert replies.take(Message("s", b"0"), 1) == []


def test_replies_are_given_in_order_and_once() -> None:
    replies = Replies()
    for number in range(3):
        assert replies.ask(Message("s", b"x", reply=f"inbox.{number}"), number) is None
    assert [replies.take(Message("s", b"x"), 5) for _ in range(4)] == [["inbox.0"], ["inbox.1"], ["inbox.2"], []]
    with_id = Message("s", b"x", {MESSAGE_ID: "1"}, reply="inbox.3")
    replies.answered(Message("s", b"x"), b"no id", 100)
    assert replies.ask(Message("s", b"x", reply="inbox.4"), 0) is None, "without an id the same bytes are two goals"
    replies.answered(with_id, b"told", 100)
    assert replies.ask(with_id, 1) == b"told"
    assert replies.ask(with_id, GOALS.dedupe_ms) is None


def test_a_goal_id_depends_on_where_the_goal_is_stored() -> None:
    message = Message("interlock.w.goal.submit", b"{}", sequence=7, stored_ms=1_763_700_000_123)
    assert is_uuid7(goal_id_of(message))
    assert goal_id_of(message) == goal_id_of(replace(message, data=b"x", delivered=5))
    assert goal_id_of(message) != goal_id_of(replace(message, sequence=8))
    assert id_time_ms(goal_id_of(message)) == message.stored_ms
    chosen = new_id(0)
    assert goal_id_of(replace(message, headers={MESSAGE_ID: chosen})) == chosen


def test_the_size_of_a_message_is_counted_as_the_broker_does() -> None:
    assert stored_bytes(Message("s", b"12345")) == 5
    assert stored_bytes(Message("s", b"12345", {"a": "b"})) == 5 + len("NATS/1.0\r\na: b\r\n\r\n")


@pytest.mark.parametrize("quiet_house", ["jetstream"], indirect=True)  # only a real server has sockets
async def test_garbage_in_headers_harms_nobody(gateway: InProcess, nats_server: Any) -> None:
    """As no client library would send it, over a plain socket."""
    subject = f"interlock.{gateway.workspace}.goal.submit".encode()
    host, port = nats_server.url.removeprefix("nats://").split(":")
    stream = await anyio.connect_tcp(host, int(port))
    async with stream:
        await stream.receive()
        await stream.send(b'CONNECT {"verbose":false,"headers":true}\r\n')
        blocks = (b"Nats-Msg-Id: \xff\xfe", b"\xff: \xfe", b"no colon", b": x", b"A: b\r\nA: c")
        for number, block in enumerate(blocks):
            head = b"NATS/1.0\r\n" + block + b"\r\n\r\n"
            body = b"bad %d" % number
            await stream.send(b"HPUB %s %d %d\r\n%s%s\r\n" % (subject, len(head), len(head) + len(body), head, body))
        found = await letters(gateway, len(blocks))
    assert sorted(letter.original for letter in found) == [b"bad %d" % number for number in range(len(blocks))]
    assert "goalId" in await gateway.submit(gateway.goal(TASKS))


def test_all_who_asked_for_one_id_are_answered_at_once() -> None:
    """One whose first try was a repeat to the broker asks again, and must not be one answer behind for ever."""
    replies = Replies()
    for number in range(3):
        replies.ask(Message("s", b"x", {MESSAGE_ID: "1"}, reply=f"inbox.{number}"), number * 30_000)
    assert replies.take(Message("s", b"x", {MESSAGE_ID: "1"}), 60_001) == ["inbox.1", "inbox.2"]
    assert replies.take(Message("s", b"x", {MESSAGE_ID: "1"}), 60_001) == []


class Slow(MemoryTransport):
    """A connection that takes its time over the first envelope of a goal: until all three have been asked for."""

    begun = 0

    async def publish(self, subject: str, data: bytes, **more: Any) -> PubAck:
        if subject.endswith(".plan"):
            self.begun += 1
            with anyio.fail_after(10):
                while await self.count("GOALS", "interlock.w.goal.submit") < 3:
                    await anyio.sleep(0.005)
        return await super().publish(subject, data, **more)


async def test_of_two_that_ask_for_one_goal_at_a_time_one_waits_for_the_other(tmp_path: Any) -> None:
    clock = SystemClock()
    slow = Slow(clock)
    house = InProcess(slow, "w", Keys("w"), tmp_path)
    await slow.declare(declarations(("w",)))
    goal, goal_id, told = msgspec.json.encode(house.goal(TASKS)), new_id(clock_ms()), list[dict[str, Any]]()

    async def ask(data: bytes) -> None:
        told.append(await house.submit(data, goal_id))

    async with running("gateway", house.parts("gateway")), anyio.create_task_group() as group:
        for blanks in range(3):  # other bytes, so that each wants an answer of its own
            group.start_soon(ask, goal + b" " * blanks)
            await house.until("GOALS", blanks + 1, "goal", "submit")
            await house.past_dedupe()
    assert [answer.get("goalId") for answer in told] == [goal_id] * 3
    assert slow.begun == 1


class Unconfirmed(MemoryTransport):
    """A connection over which the broker's word that it knows is lost, and the acknowledgement with it."""

    lost = 0

    def consume(self, consumer: Any, on_incoming: OnIncoming, *, concurrency: int) -> Any:
        async def hand_on(incoming: Incoming) -> None:
            await on_incoming(Doubtful(self, incoming) if self.lost < 2 else incoming)

        return super().consume(consumer, hand_on, concurrency=concurrency)


class Doubtful:
    def __init__(self, transport: Unconfirmed, incoming: Incoming) -> None:
        self.message = incoming.message
        self.retry = incoming.retry
        self.progress = incoming.progress
        self._transport = transport

    async def ack(self) -> None:
        return

    async def ack_confirmed(self) -> None:
        self._transport.lost += 1
        raise Unavailable("no answer")


async def test_nobody_is_told_of_a_refusal_that_the_broker_has_not_heard_of(memory: InProcess) -> None:
    """Else the message comes again when there is room, and a goal runs that its submitter has given up."""
    clock = memory.transport.clock
    assert isinstance(clock, ManualClock)
    assert isinstance(memory.transport, MemoryTransport)
    unconfirmed = Unconfirmed(clock, memory.transport.broker)
    async with answers(memory) as told, running("gateway", memory.parts("gateway", unconfirmed)):
        await submit(memory, {"goal": "incomplete"})
        assert told == []
        for _ in range(10):
            clock.advance(11_000)
            await unconfirmed.settle()
        assert [list(answer) for answer in told] == [["errors"]]
        assert unconfirmed.lost == 2
