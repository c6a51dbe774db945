"""A connection over either transport with the ledger's stream, and a workspace of its own for each test."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from interlock.bus.clock import SystemClock
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.server.embedded import EmbeddedServer
from interlock.bus.streams import LEDGER, Declarations
from interlock.bus.transport import Transport


@pytest.fixture(params=["memory", pytest.param("jetstream", marks=pytest.mark.nats)])
async def transport(request: pytest.FixtureRequest) -> AsyncIterator[Transport]:
    declared = Declarations(streams=(LEDGER,))
    if request.param == "memory":
        memory = MemoryTransport(SystemClock())
        await memory.declare(declared)
        yield memory
        return
    server: EmbeddedServer = request.getfixturevalue("nats_server")
    async with JetStreamTransport.connect(server.url, name="ledger") as connection:
        await connection.declare(declared)
        yield connection


@pytest.fixture
def workspace() -> str:
    return f"l{uuid.uuid4().hex[:12]}"
