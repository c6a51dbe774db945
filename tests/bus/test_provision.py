"""How many workspaces one broker holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import Struct

from interlock.bus.errors import TooManyConsumers
from interlock.bus.jetstream.broker_errors import ApiError
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.server.embedded import EmbeddedServer
from interlock.bus.streams import STREAMS, consumers_of, declarations

pytestmark = [pytest.mark.anyio, pytest.mark.nats]
# One user, whose account takes so many consumers of a stream.
FEW = """
accounts { A { jetstream: {max_mem: 1G, max_file: 200G, max_streams: 100, max_consumers: 14}, users: [{user: a, password: b}] } }
no_auth_user: a
"""


class Config(Struct):
    max_consumers: int


class Info(Struct):
    config: Config
    error: ApiError | None = None


async def test_streams_take_more_consumers_than_a_servers_own_thousand(tmp_path: Path) -> None:
    """Found by tests of many workspaces on one server: refused with 10026 from the 167th on."""
    async with EmbeddedServer(tmp_path) as server, JetStreamTransport.connect(server.url, name="many") as transport:
        await transport.declare(declarations(("a",)))
        for stream in STREAMS:
            info = await transport.api(f"STREAM.INFO.{stream.name}", None, Info)
            assert info.config.max_consumers >= 10_000 * sum(one.stream == stream.name for one in consumers_of("a"))


async def test_an_account_that_allows_few_holds_what_it_allows_and_then_says_so(tmp_path: Path) -> None:
    async with (
        EmbeddedServer(tmp_path, config=FEW) as server,
        JetStreamTransport.connect(server.url, name="few") as transport,
    ):
        for workspaces in (("a",), ("a", "b")):
            await transport.declare(declarations(workspaces))
        with pytest.raises(TooManyConsumers, match="max_consumers of its account"):
            await transport.declare(declarations(("a", "b", "c")))
