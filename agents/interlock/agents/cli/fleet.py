"""`interlock agents`: who runs here, as they answer for themselves (NATS ADR-32), and where their metrics are."""

from __future__ import annotations

import anyio
import msgspec
from msgspec import Struct, field

from interlock.agents.cli.session import Session
from interlock.bus.jetstream.login import inbox_prefix
from interlock.bus.transport import Message, Transport
from interlock.envelope.amounts import clock_ms
from interlock.envelope.ids import new_id

WAIT_MS = 400
NOBODY = "Nobody answers. `interlock up` starts the roles; `interlock doctor` says what is wrong."


class Requests(Struct, frozen=True):
    num_requests: int = 0
    num_errors: int = 0
    average_processing_time: int = 0


class Agent(Struct, frozen=True):
    """An answer to $SRV.STATS, as far as it is shown."""

    name: str
    id: str
    version: str
    started: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    endpoints: list[Requests] = field(default_factory=list)

    @property
    def agent(self) -> str:
        return self.metadata.get("agent", self.name)


async def list_agents(session: Session) -> int:
    """Exit 1 when nobody answers."""
    async with session.connected() as transport:
        found = await agents_of(transport, session.workspace)
    session.say(table(found) if found else NOBODY, [listed(agent) for agent in found])
    return 0 if found else 1


async def agents_of(transport: Transport, workspace: str, wait_ms: int = WAIT_MS) -> list[Agent]:
    """Whoever of the workspace answers within wait_ms, by name."""
    found: dict[str, Agent] = {}

    async def on_answer(message: Message) -> None:
        try:
            agent = msgspec.json.decode(message.data, type=Agent)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return
        if agent.metadata.get("workspace") == workspace and agent.name.startswith("interlock-"):
            found[agent.id] = agent

    inbox = f"{inbox_prefix('human')}.{new_id(clock_ms())}"
    async with transport.subscribe(inbox, on_answer):
        await transport.send("$SRV.STATS", b"", reply=inbox)
        await anyio.sleep(wait_ms / 1000)
    return sorted(found.values(), key=lambda agent: (agent.agent, agent.started))


def listed(agent: Agent) -> dict[str, str | int]:
    handled = agent.endpoints[0] if agent.endpoints else Requests()
    return {
        "agent": agent.agent,
        "id": agent.id,
        "version": agent.version,
        "startedAt": agent.started,
        "pid": agent.metadata.get("pid", ""),
        "hops": handled.num_requests,
        "notDone": handled.num_errors,
        "meanMs": handled.average_processing_time // 1_000_000,
        "metrics": agent.metadata.get("metrics", ""),
    }


def table(agents: list[Agent]) -> str:
    lines = [f"{'AGENT':<20}{'SINCE':<26}{'HOPS':>8}{'NOT DONE':>10}  METRICS"]
    lines += [
        f"{row['agent']:<20}{row['startedAt']:<26}{row['hops']:>8}{row['notDone']:>10}  {row['metrics'] or 'off'}"
        for row in map(listed, agents)
    ]
    return "\n".join(lines)
