"""How several workspaces come to be on one broker, and how many it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec import Struct

from interlock.bus.errors import TooManyConsumers
from interlock.bus.jetstream.broker_errors import ApiError
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.server.cluster import embedded_cluster, urls_of
from interlock.bus.server.embedded import EmbeddedServer
from interlock.bus.streams import GOALS, STREAMS, consumers_of, declarations

pytestmark = [pytest.mark.anyio, pytest.mark.nats]
# One user, whose account takes so many consumers of a stream.
FEW = """
accounts { A { jetstream: {max_mem: 1G, max_file: 200G, max_streams: 100, max_consumers: 14}, users: [{user: a, password: b}] } }
no_auth_user: a
"""


class Config(Struct):
    max_consumers: int
    subjects: list[str]


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


async def goals_of(transport: JetStreamTransport) -> list[str]:
    """The workspaces for which goals are taken."""
    info = await transport.api(f"STREAM.INFO.{GOALS.name}", None, Info)
    return [subject.split(".")[1] for subject in info.config.subjects]


class Overtaken(JetStreamTransport):
    """A connection of one who is slow: another workspace is made between what it last saw and what it writes."""

    other: JetStreamTransport | None = None

    async def api(self, verb: str, body: Any, answer_type: type[Any]) -> Any:
        if verb == f"STREAM.UPDATE.{GOALS.name}" and self.other is not None:
            other, self.other = self.other, None
            await other.declare(declarations(("quick",)))
            assert "quick" in await goals_of(other)
        return await super().api(verb, body, answer_type)


async def test_who_was_overtaken_takes_nothing_from_who_was_quicker(tmp_path: Path) -> None:
    async with (
        EmbeddedServer(tmp_path) as server,
        JetStreamTransport.connect(server.url, name="quick") as quick,
        Overtaken.connect(server.url, name="slow") as slow,
    ):
        await slow.declare(declarations(("slow",)))
        assert await goals_of(quick) == ["slow"]
        assert isinstance(slow, Overtaken)
        slow.other = quick
        await slow.declare(declarations(("slow",)))
        assert await goals_of(quick) == ["quick", "slow"]


@pytest.mark.process
async def test_workspaces_of_a_cluster_made_at_once_all_have_their_goals_taken(tmp_path: Path) -> None:
    names = [f"w{number}" for number in range(5)]

    async def declare(name: str) -> None:
        async with JetStreamTransport.connect(urls_of(servers), name=name) as own:
            await own.declare(declarations((name,), replicas=3))

    async with embedded_cluster(tmp_path, 3) as servers:
        await declare(names[0])
        async with anyio.create_task_group() as group:
            for name in names[1:]:
                group.start_soon(declare, name)
        async with JetStreamTransport.connect(urls_of(servers), name="look") as look:
            assert await goals_of(look) == names
            await look.declare(declarations(tuple(names)), bind_only=True)
