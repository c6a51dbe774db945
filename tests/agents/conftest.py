"""All roles in this process, over either transport: the real cores, shells, onions, ledger, sandbox and signatures."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from msgspec.structs import replace

from interlock.agents.contract.configuration import configuration_digests
from interlock.agents.contract.generate import following, generated
from interlock.agents.parts import Parts
from interlock.agents.status import AuditStatus, GoalStatus, read_audit, read_status
from interlock.agents.wiring import running
from interlock.agents.workspace.keys import CAPABILITIES, TRUST_LEVELS
from interlock.bus.clock import SystemClock
from interlock.bus.jetstream.broker_errors import Answer
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.sender import Identity
from interlock.bus.server.embedded import EmbeddedServer
from interlock.bus.streams import GOALS, Declarations, consumers_of, declarations
from interlock.bus.transport import MESSAGE_ID, Message, Transport
from interlock.envelope.amounts import Amount, clock_ms, timestamp
from interlock.envelope.contract import sign_contract
from interlock.envelope.contract_chain import Chain, Signers, first
from interlock.envelope.ids import new_id
from interlock.envelope.keys import SigningKey
from interlock.envelope.trust import AgentRecord, KeyRecord, Trust, TrustStore, load, sign_store

HERE = Path(__file__).parent
CONFIG = HERE.parents[1] / "config"
KeyOf = Callable[[str, str], SigningKey]
# Ada and Bob may approve anything, Eve starts plans only, Mallory nothing.
HUMANS = {
    "human": CAPABILITIES["human"],
    "human.ada": ["approve:*"],
    "human.bob": ["approve:*"],
    "human.eve": ["approve:plan.start"],
    "human.mallory": ["skill:*"],
}
HELD = CAPABILITIES | HUMANS
ROLES = ("gateway", "orchestrator", "evaluator", "executor", "auditor", "synthesizer")


class Keys:
    """Keys, trust and contract of one workspace (a gates.TrustSource and ContractSource). key_of: by name and kind."""

    def __init__(self, workspace: str, key_of: KeyOf = lambda _name, kind: SigningKey.generate(kind)) -> None:
        now = clock_ms()
        self.root = key_of("root", "O")
        self.agents = {role: key_of(role, "U") for role in (*ROLES, *HUMANS)}
        window = {"not_before": timestamp(now - 60_000), "not_after": timestamp(now + 10**10)}
        records = [
            AgentRecord(
                agent=role,
                keys=[KeyRecord(key_id=key.key_id, **window)],
                capabilities=HELD.get(role, []),
                trust_level=TRUST_LEVELS.get(role.partition(".")[0], 50),
            )
            for role, key in self.agents.items()
        ]
        store = TrustStore(workspace=workspace, version=1, issued_at=timestamp(now), agents=records)
        self.signed = sign_store(store, [self.root])
        self.trust: Trust = load(self.signed, [self.root.key_id])
        self.signers = Signers((self.root.key_id,), self.trust)
        limit = Amount(10**10, 500_000_000, 10**12, 10**8).budget
        contract = generated(self.trust, configuration_digests(CONFIG), limit, timestamp(now))
        self.chain: Chain = first(sign_contract(contract, [self.root]), workspace, self.signers)

    def change_contract(self, **more: Any) -> None:
        """A new version is in force, for every role at once."""
        contract = replace(following(self.chain, self.chain.head.contract), **more)
        self.chain = self.chain.extended(sign_contract(contract, [self.root]), self.signers)


class InProcess:
    """Everything a test wants of a running Interlock."""

    def __init__(self, transport: Transport, workspace: str, keys: Keys, scratch: Path) -> None:
        self.transport = transport
        self.workspace = workspace
        self.keys = keys
        self.scratch = scratch

    def identity(self, agent: str) -> Identity:
        return Identity(agent, self.keys.agents.get(agent) or self.keys.agents[agent.partition(".")[0]])

    def parts(self, role: str, transport: Transport | None = None, **more: Any) -> Parts:
        return Parts(
            transport=transport or self.transport,
            workspace=self.workspace,
            identity=self.identity(role),
            trust=self.keys,
            config=CONFIG,
            contract=self.keys,
            skills=(HERE / "skills",),
            read_roots=(self.scratch,),
            write_roots=(self.scratch,),
            **more,
        )

    def goal(self, tasks: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
        goal = {
            "goal": "prove that it runs",
            "constraints": [],
            "stakeholders": ["Ada"],
            "success_metrics": ["it ends"],
            "budget_limits": {"costUSD": "1", "wallMs": 10_000_000, "actions": 10_000},
        }
        return goal | ({"tasks": tasks} if tasks is not None else {}) | more

    async def submit(self, goal: dict[str, Any] | bytes, goal_id: str = "", timeout_ms: int = 10_000) -> dict[str, Any]:
        data = goal if isinstance(goal, bytes) else msgspec.json.encode(goal)
        headers = {MESSAGE_ID: goal_id or new_id(clock_ms())}
        subject = f"interlock.{self.workspace}.goal.submit"
        answer = await self.transport.request(subject, data, timeout_ms=timeout_ms, headers=headers)
        decoded: dict[str, Any] = msgspec.json.decode(answer.data)
        return decoded

    async def past_dedupe(self) -> None:
        """Until the broker has forgotten the ids of goals published before this call. It tells nobody when: a mark is
        published until it is stored a second time.
        """
        aside = f"{self.workspace}-mark"
        heard = tuple(one for one in consumers_of(aside) if one.stream == GOALS.name)
        await self.transport.declare(Declarations(streams=(GOALS,), consumers=heard))
        subject, mark = f"interlock.{aside}.goal.submit", {MESSAGE_ID: new_id(clock_ms())}
        held = await self.transport.count("GOALS", subject)
        with anyio.fail_after(10):
            while await self.transport.count("GOALS", subject) < held + 2:
                await self.transport.send(subject, b"", headers=mark)
                await anyio.sleep(0.005)

    async def ended(self, goal_id: str, within_s: float = 30) -> GoalStatus:
        with anyio.fail_after(within_s):
            while True:
                status = await read_status(self.transport, self.workspace, goal_id)
                if status is not None and status.phase == "ended":
                    return status
                await anyio.sleep(0.005)

    async def audited(self, goal_id: str, within_s: float = 10) -> AuditStatus:
        with anyio.fail_after(within_s):
            while (status := await read_audit(self.transport, self.workspace, goal_id)) is None:
                await anyio.sleep(0.005)
        return status

    async def run(self, goal: dict[str, Any]) -> GoalStatus:
        answer = await self.submit(goal)
        assert "goalId" in answer, answer
        return await self.ended(answer["goalId"])

    async def messages(self, stream: str, *tokens: str) -> list[Message]:
        subject = ".".join(("interlock", self.workspace, *tokens))
        return [message async for message in self.transport.read(stream, [subject])]

    async def until(self, stream: str, count: int, *tokens: str, within_s: float = 10) -> list[Message]:
        with anyio.fail_after(within_s):
            while len(found := await self.messages(stream, *tokens)) < count:
                await anyio.sleep(0.005)
        return found


@asynccontextmanager
async def connected(kind: str, request: pytest.FixtureRequest, name: str) -> AsyncIterator[Transport]:
    if kind == "memory":
        yield MemoryTransport(SystemClock())
        return
    server: EmbeddedServer = request.getfixturevalue("nats_server")
    async with JetStreamTransport.connect(server.url, name=name) as transport:
        yield transport


@pytest.fixture(params=["memory", pytest.param("jetstream", marks=pytest.mark.nats)])
async def quiet_house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[InProcess]:
    """Streams, keys and a connection, but no role running yet."""
    workspace = f"w{uuid.uuid4().hex[:12]}"
    async with connected(request.param, request, "tests") as transport:
        await transport.declare(declarations((workspace,)))
        yield InProcess(transport, workspace, Keys(workspace), tmp_path)
        if isinstance(
            transport, JetStreamTransport
        ):  # the server is that of all tests, and a stream has so many at most
            for consumer in consumers_of(workspace):
                await transport.api(f"CONSUMER.DELETE.{consumer.stream}.{consumer.name}", None, Answer)


@pytest.fixture
async def house(quiet_house: InProcess) -> AsyncIterator[InProcess]:
    """All six roles running."""
    async with AsyncExitStack() as stack:
        for role in ROLES:
            await stack.enter_async_context(running(role, quiet_house.parts(role)))
        yield quiet_house
