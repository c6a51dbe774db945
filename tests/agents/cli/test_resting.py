"""Commands that look at a store while nothing runs find the one that was used last, also a cluster's."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.agents.cli.session import Session
from interlock.agents.errors import UserError
from interlock.agents.supervision.house import write_running
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.resting import resting_broker
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.server.cluster import embedded_cluster, urls_of
from interlock.bus.server.embedded import EmbeddedServer
from interlock.bus.streams import DEAD, Declarations

pytestmark = [pytest.mark.anyio, pytest.mark.process]
SUBJECT = "interlock.w.dead.x"


async def stored(url: str) -> list[bytes]:
    async with JetStreamTransport.connect(url, name="x") as transport:
        return [message.data async for message in transport.read(DEAD.name, [SUBJECT])]


async def fill(url: str, data: bytes, replicas: int) -> None:
    async with JetStreamTransport.connect(url, name="x") as transport:
        await transport.declare(Declarations(streams=(DEAD,), replicas=replicas))
        await transport.publish(SUBJECT, data)


async def test_the_store_that_ran_last_is_the_one_that_is_looked_at(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with pytest.raises(UserError, match="no Interlock runs here"):
        async with resting_broker(layout, "fast"):
            pass
    session = Session(tmp_path, "", False)
    async with EmbeddedServer(layout.store) as server:
        await fill(server.url, b"single", 1)
    assert session.checkpoint == layout.checkpoint
    async with resting_broker(layout, "fast") as url:
        assert await stored(url) == [b"single"]
    async with embedded_cluster(layout.cluster, 3) as servers:
        await fill(urls_of(servers), b"three", 3)
    async with resting_broker(layout, "fast") as url:
        assert (await stored(url), url.count(",")) == ([b"three"], 2)
    # Each store has a log of its own: found by hand, where a cluster after a single server was taken for a truncated log.
    assert session.checkpoint == layout.cluster_checkpoint
    assert Session(tmp_path, "nats://elsewhere:4222", False).checkpoint == layout.checkpoint
    for clustered, place in ((True, layout.cluster_checkpoint), (False, layout.checkpoint)):
        layout.run.mkdir(exist_ok=True)
        write_running(layout, "nats://here:1", 0, clustered)
        assert session.checkpoint == place
        assert Session(tmp_path, "nats://here:1", False).checkpoint == place
        assert Session(tmp_path, "nats://elsewhere:4222", False).checkpoint == layout.checkpoint
    layout.server.unlink()
    async with EmbeddedServer(layout.store):
        pass
    async with resting_broker(layout, "fast") as url:
        assert await stored(url) == [b"single"]
