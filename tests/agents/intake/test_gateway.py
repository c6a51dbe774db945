"""The gateway: whatever a stranger publishes is answered or kept, and nothing of it reaches where strangers may not."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import anyio
import msgspec
import pytest
from msgspec.structs import replace

from interlock.agents.contract.configuration import configuration_digests
from interlock.agents.telemetry.telemetry import Telemetry
from interlock.agents.wiring import running
from interlock.bus.streams import GOALS
from interlock.bus.telemetry.counting import HopCounts
from interlock.bus.transport import MESSAGE_ID
from interlock.envelope.amounts import Amount, clock_ms
from interlock.envelope.ids import is_uuid7, new_id
from interlock.envelope.signing import has_valid_signature
from tests.agents.conftest import CONFIG, InProcess
from tests.agents.intake.intakes import TASKS, letters, root_of, roots

pytestmark = pytest.mark.anyio


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
