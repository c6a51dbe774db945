"""Every transport under one suite: `bench` is given once for each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import pytest

from interlock.bus.jetstream.connection import JetStreamSettings
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.transport import Transport
from tests.bus.conformance.bench import Bench, MemoryBench, RunningBench

# Nothing here elects leaders: a subject without a stream is told at once.
_SETTINGS = JetStreamSettings(no_stream_retry_ms=0, publish_timeout_ms=1_000)


@pytest.fixture(params=["memory", pytest.param("jetstream", marks=pytest.mark.nats)])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    if request.param == "memory":
        yield MemoryBench()
        return
    url = request.getfixturevalue("nats_server").url

    def connect() -> AbstractAsyncContextManager[Transport]:
        return JetStreamTransport.connect(url, name="bench", settings=_SETTINGS)

    async with connect() as transport:
        yield RunningBench(transport, connect)
