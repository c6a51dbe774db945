"""How an actor hears of halts, and what it does when it hears nothing."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from interlock.bus.clock import SystemClock
from interlock.bus.control.giving import give_order, halts_of
from interlock.bus.control.halts import Doing
from interlock.bus.control.holder import ANNOUNCED, BUCKET, ControlHolder, ControlSettings
from interlock.bus.control.orders import scope_key, sign_order
from interlock.bus.errors import NotFound, Unavailable
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.kv import kv_put
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.sender import Identity
from interlock.bus.streams import declarations
from interlock.bus.tasks import background
from interlock.bus.transport import PubAck, Transport
from interlock.envelope.amounts import clock_ms, timestamp
from interlock.envelope.keys import SigningKey
from interlock.envelope.trust import AgentRecord, KeyRecord, Trust, TrustStore
from interlock.envelope.verdict import Reason

pytestmark = pytest.mark.anyio
DOING = Doing(agent="executor")
HUMAN = Identity("human", SigningKey.generate())
LATER = Identity("human.later", SigningKey.generate())


class Trusting:
    """A trust source whose store grows by a second human."""

    def __init__(self, workspace: str) -> None:
        self.workspace = workspace
        self.identities = [HUMAN]

    @property
    def trust(self) -> Trust:
        now = clock_ms()
        window = {"not_before": timestamp(now - 60_000), "not_after": timestamp(now + 10**9)}
        agents = [
            AgentRecord(agent=one.agent, keys=[KeyRecord(key_id=one.key.key_id, **window)]) for one in self.identities
        ]
        version = len(self.identities)
        return Trust(TrustStore(workspace=self.workspace, version=version, issued_at=timestamp(now), agents=agents))


class Clock:
    """Seconds since boot, moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(params=["memory", pytest.param("jetstream", marks=pytest.mark.nats)])
async def transport(request: pytest.FixtureRequest) -> AsyncIterator[Transport]:
    if request.param == "memory":
        memory = MemoryTransport(SystemClock())
        await memory.declare(declarations(("w",)))
        yield memory
        return
    async with JetStreamTransport.connect(request.getfixturevalue("nats_server").url, name="control") as connected:
        await connected.declare(declarations(("w",)))
        yield connected


@pytest.fixture
def workspace() -> str:
    return f"w{uuid.uuid4().hex[:12]}"


@pytest.fixture
def trusting(workspace: str) -> Trusting:
    return Trusting(workspace)


async def test_everything_is_halted_until_the_first_answer(
    transport: Transport, workspace: str, trusting: Trusting
) -> None:
    holder = ControlHolder(workspace, trusting)
    assert not holder.verdict(DOING).allowed
    await holder.poll(transport)
    assert holder.verdict(DOING).allowed


async def test_what_was_stored_is_in_force_for_who_starts_later(
    transport: Transport, workspace: str, trusting: Trusting
) -> None:
    scopes = ["role:executor", "skill:x", "target:/srv", "workspace"]
    for scope in scopes:
        await give_order(transport, workspace, HUMAN, "halt", scope, "why not")
    await give_order(transport, workspace, HUMAN, "resume", "workspace", "")
    holder = ControlHolder(workspace, trusting)
    await holder.poll(transport)
    assert [one.scope for one in holder.in_force] == scopes[:3]
    assert [one.scope for one in (await halts_of(transport, workspace, trusting.trust)).in_force] == scopes[:3]
    assert not holder.verdict(DOING).allowed
    assert holder.verdict(Doing(agent="evaluator")).allowed


async def test_an_order_is_heard_at_once_and_wakes_who_waits(
    transport: Transport, workspace: str, trusting: Trusting
) -> None:
    holder = ControlHolder(workspace, trusting, ControlSettings(lease_ms=60_000, poll_ms=30_000))
    async with background() as group:
        group.start_soon(holder.follow, transport)
        with anyio.fail_after(10):
            await holder.until_allowed(DOING)
            while holder.verdict(DOING).allowed:  # the subscription may take a moment; an announcement is not kept
                await give_order(transport, workspace, HUMAN, "halt", "workspace", "stop")
                await anyio.sleep(0.02)
            assert (await holder.until_halted(DOING, 0)).grounds[0].code == Reason.HALTED
            group.start_soon(give_order, transport, workspace, HUMAN, "resume", "workspace", "")
            await holder.until_allowed(DOING)


async def test_a_lease_that_ran_out_halts_and_an_answer_renews_it(
    transport: Transport, workspace: str, trusting: Trusting
) -> None:
    clock = Clock()
    holder = ControlHolder(workspace, trusting, now_s=clock)
    await holder.poll(transport)
    assert holder.until_s == pytest.approx(1_000.9)
    clock.now_s += 0.9
    assert holder.verdict(DOING).allowed
    clock.now_s += 0.001
    verdict = holder.verdict(DOING)
    assert not verdict.allowed
    assert "control lease" in verdict.grounds[0].message
    async with background() as group:
        group.start_soon(holder.poll, transport)
        with anyio.fail_after(5):
            await holder.until_allowed(DOING)
    assert holder.until_s > clock.now_s


async def test_no_answer_renews_nothing(workspace: str, trusting: Trusting) -> None:
    holder = ControlHolder(workspace, trusting)
    with pytest.raises(NotFound):
        await holder.poll(MemoryTransport(SystemClock()))
    assert not holder.verdict(DOING).allowed


async def test_forged_orders_are_counted_and_change_nothing(
    transport: Transport, workspace: str, trusting: Trusting
) -> None:
    holder = ControlHolder(workspace, trusting)
    stranger = SigningKey.generate()
    made: dict[str, Any] = {"workspace": workspace, "verb": "halt", "why": "", "by": "human", "at_ms": clock_ms()}
    for scope in ("workspace", "everything"):
        forged = sign_order(stranger, scope=scope, **made)
        await kv_put(transport, BUCKET, scope_key(workspace, scope), forged)
    misplaced = sign_order(HUMAN.key, scope="everything", **made)
    await kv_put(transport, BUCKET, f"{workspace}.skill.x", misplaced)
    await kv_put(transport, BUCKET, f"{workspace}.skill.y", b"\xff garbage")
    await holder.poll(transport)
    assert holder.verdict(DOING).allowed
    assert holder.refused[Reason.UNKNOWN_KEY] >= 2
    assert (holder.refused[Reason.WRONG_SUBJECT], holder.refused[Reason.MALFORMED]) == (1, 1)
    assert (await halts_of(transport, workspace, trusting.trust)).in_force == []


async def test_a_resume_that_was_played_back_resumes_nothing(
    transport: Transport, workspace: str, trusting: Trusting
) -> None:
    key = scope_key(workspace, "workspace")
    made: dict[str, Any] = {"workspace": workspace, "scope": "workspace", "why": "", "by": "human"}
    resumed = sign_order(HUMAN.key, verb="resume", at_ms=clock_ms() - 10, **made)
    await kv_put(transport, BUCKET, key, resumed)
    await give_order(transport, workspace, HUMAN, "halt", "workspace", "")
    await kv_put(transport, BUCKET, key, resumed)
    holder = ControlHolder(workspace, trusting)
    await holder.poll(transport)
    assert not holder.verdict(DOING).allowed


async def test_an_order_by_a_key_that_is_enrolled_later_is_found_again(
    transport: Transport, workspace: str, trusting: Trusting
) -> None:
    holder = ControlHolder(workspace, trusting)
    await give_order(transport, workspace, LATER, "halt", "workspace", "")
    await holder.poll(transport)
    assert holder.verdict(DOING).allowed
    trusting.identities.append(LATER)
    await holder.poll(transport)
    assert not holder.verdict(DOING).allowed


async def test_two_who_give_orders_at_once_both_succeed(
    transport: Transport, workspace: str, trusting: Trusting
) -> None:
    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(give_order, transport, workspace, HUMAN, "halt", "workspace", str(number))
    holder = ControlHolder(workspace, trusting)
    await holder.poll(transport)
    assert len(holder.in_force) == 1
    await give_order(transport, workspace, HUMAN, "resume", "workspace", "")
    await holder.poll(transport)
    assert holder.verdict(DOING).allowed


async def test_an_order_that_cannot_be_stored_is_announced_all_the_same(workspace: str) -> None:
    transport = MemoryTransport(SystemClock())
    await transport.declare(declarations((workspace,)))
    heard: list[bytes] = []

    class Storeless(MemoryTransport):
        async def publish(self, *arguments: Any, **more: Any) -> PubAck:
            raise Unavailable("no leader")

    async def hear(message: object) -> None:
        heard.append(b"")

    async with transport.subscribe(f"interlock.{workspace}.control.halt", hear):
        with pytest.raises(Unavailable):
            await give_order(Storeless(SystemClock(), transport.broker), workspace, HUMAN, "halt", "workspace", "")
        await transport.settle()
    assert len(heard) == 1


async def test_a_flood_of_announcements_costs_little_and_hides_nothing(workspace: str, trusting: Trusting) -> None:
    transport = MemoryTransport(SystemClock())
    await transport.declare(declarations((workspace,)))
    holder = ControlHolder(workspace, trusting, ControlSettings(poll_ms=400))
    made: dict[str, Any] = {"workspace": workspace, "scope": "workspace", "verb": "halt", "why": "", "by": "human"}
    forged = sign_order(SigningKey.generate(), at_ms=clock_ms(), **made)
    async with background() as group:
        group.start_soon(holder.follow, transport)
        with anyio.fail_after(5):
            await holder.until_allowed(DOING)
            for _ in range(10 * ANNOUNCED):
                await transport.send(f"interlock.{workspace}.control.halt", forged)
            await transport.settle()
            assert holder.refused.total() <= ANNOUNCED
            assert holder.verdict(DOING).allowed
            await give_order(transport, workspace, HUMAN, "halt", "workspace", "")
            await holder.until_halted(DOING, 0)


async def test_another_authority_halts_the_workspace_by_its_flag(
    transport: Transport, workspace: str, trusting: Trusting
) -> None:
    flags = ["contract 3 says halted"]
    holder = ControlHolder(workspace, trusting, flag=lambda: "".join(flags))
    await holder.poll(transport)
    assert "contract 3" in holder.verdict(DOING).grounds[0].message
    flags.clear()
    async with background() as group:
        group.start_soon(holder.poll, transport)
        with anyio.fail_after(5):
            await holder.until_allowed(DOING)
