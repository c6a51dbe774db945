"""Discovery by ADR-32: PING, INFO and STATS at all, at a name, at one instance; over both transports."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import nats
import pytest

from interlock.bus.clock import SystemClock
from interlock.bus.errors import Unavailable
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.server.embedded import EmbeddedServer
from interlock.bus.telemetry.counting import HopCounts
from interlock.bus.telemetry.micro import Service, ServiceEndpoint, answering, endpoint_stats, subjects
from interlock.bus.transport import Transport

pytestmark = pytest.mark.anyio
SERVICE = Service(
    name="interlock-executor",
    id="01a1fd22-f39d-7fc3-88a8-d2ea2d34d7e1",
    version="0.1.0",
    description="an executor",
    started="2026-11-21T00:00:00.000Z",
    metadata={"workspace": "w"},
    endpoints=(ServiceEndpoint(name="inbox", subject="interlock.w.role.executor.>", queue_group="executor-w"),),
)


@pytest.fixture(params=["memory", pytest.param("nats", marks=pytest.mark.nats)])
async def transport(request: pytest.FixtureRequest, nats_server: EmbeddedServer) -> AsyncIterator[Transport]:
    if request.param == "memory":
        yield MemoryTransport(SystemClock())
        return
    async with JetStreamTransport.connect(nats_server.url, name="micro") as connected:
        yield connected


def counted() -> HopCounts:
    counts = HopCounts()
    counts.handled, counts.not_done, counts.busy_ns, counts.last_problem = 2, 1, 750_000_000, "expired"
    return counts


async def test_all_nine_subjects_are_answered_with_the_schemas_of_adr_32(transport: Transport) -> None:
    counts = counted()
    async with answering(transport, SERVICE, lambda endpoint: endpoint_stats(endpoint, counts)):
        assert len(set(subjects(SERVICE.name, SERVICE.id))) == 9
        for subject in subjects(SERVICE.name, SERVICE.id):
            said = msgspec.json.decode((await transport.request(subject, b"", timeout_ms=2_000)).data)
            verb = subject.split(".")[1]
            assert said["type"] == f"io.nats.micro.v1.{verb.lower()}_response"
            assert (said["name"], said["id"], said["version"]) == (SERVICE.name, SERVICE.id, "0.1.0")
            assert said["metadata"] == {"workspace": "w"}
            check(verb, said)
        with pytest.raises(Unavailable):
            await transport.request("$SRV.PING.interlock-executor.another", b"", timeout_ms=200)
    with pytest.raises(Unavailable):
        await transport.request("$SRV.PING", b"", timeout_ms=200)


def check(verb: str, said: dict[str, Any]) -> None:
    if verb == "PING":
        assert set(said) == {"type", "name", "id", "version", "metadata"}
    elif verb == "INFO":
        (endpoint,) = said["endpoints"]
        assert said["description"] == "an executor" and endpoint["queue_group"] == "executor-w"
        assert endpoint["subject"] == "interlock.w.role.executor.>"
    else:
        (endpoint,) = said["endpoints"]
        assert said["started"] == "2026-11-21T00:00:00.000Z"
        assert (endpoint["num_requests"], endpoint["num_errors"], endpoint["last_error"]) == (2, 1, "expired")
        assert (endpoint["processing_time"], endpoint["average_processing_time"]) == (750_000_000, 375_000_000)


@pytest.mark.nats
async def test_the_client_of_nats_py_reads_the_answers(nats_server: EmbeddedServer) -> None:
    from nats.micro.service import ServiceInfo, ServicePing, ServiceStats

    counts = counted()
    kinds: dict[str, Any] = {"PING": ServicePing, "INFO": ServiceInfo, "STATS": ServiceStats}
    async with (
        JetStreamTransport.connect(nats_server.url, name="micro") as transport,
        answering(transport, SERVICE, lambda endpoint: endpoint_stats(endpoint, counts)),
    ):
        client = await nats.connect(nats_server.url)
        try:
            for verb, kind in kinds.items():
                answer = await client.request(f"$SRV.{verb}.{SERVICE.name}", b"", timeout=2)
                said = kind.from_dict(msgspec.json.decode(answer.data))
                assert said.id == SERVICE.id
            assert said.endpoints[0].num_requests == 2
        finally:
            await client.close()


async def test_who_wants_no_answer_gets_none_and_nothing_breaks(transport: Transport) -> None:
    async with answering(transport, SERVICE, lambda endpoint: endpoint_stats(endpoint, HopCounts())):
        await transport.send("$SRV.PING", b"anything")
        said = msgspec.json.decode((await transport.request("$SRV.STATS", b"", timeout_ms=2_000)).data)
        assert said["endpoints"][0]["average_processing_time"] == 0
