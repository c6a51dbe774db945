"""`interlock agents`: who answers, of this workspace alone."""

from __future__ import annotations

import msgspec
import pytest

from interlock.agents.cli.fleet import agents_of, listed, table
from interlock.bus.clock import SystemClock
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.telemetry.counting import HopCounts
from interlock.bus.telemetry.micro import EndpointStats, Service, ServiceEndpoint, answering, endpoint_stats
from interlock.bus.transport import Message
from interlock.envelope.ids import new_id

pytestmark = pytest.mark.anyio


def service(agent: str, workspace: str) -> Service:
    return Service(
        name=f"interlock-{agent.partition('.')[0]}",
        id=new_id(1_763_700_000_000),
        version="0.1.0",
        description="",
        started="2026-11-21T00:00:00.000Z",
        metadata={"workspace": workspace, "agent": agent, "metrics": "http://127.0.0.1:9464/metrics"},
        endpoints=(ServiceEndpoint(name="inbox", subject="a"),),
    )


async def test_all_instances_of_the_workspace_are_listed_and_nobody_else() -> None:
    transport = MemoryTransport(SystemClock())

    async def strange(message: Message) -> None:
        for data in (b"no json", b"[" * 5_000, msgspec.json.encode({"name": "other", "id": "1", "version": "1"})):
            await transport.send(message.reply, data)

    def count(endpoint: ServiceEndpoint) -> EndpointStats:
        return endpoint_stats(endpoint, HopCounts())

    async with (
        answering(transport, service("executor.2", "w"), count),
        answering(transport, service("executor.1", "w"), count),
        answering(transport, service("auditor", "other"), count),
        transport.subscribe("$SRV.STATS", strange),
    ):
        found = await agents_of(transport, "w", wait_ms=50)
    assert [agent.agent for agent in found] == ["executor.1", "executor.2"]
    assert listed(found[0])["metrics"] == "http://127.0.0.1:9464/metrics"
    assert table(found).splitlines()[1].startswith("executor.1 ")
