"""The broker of a workspace where nothing runs, started on its store for as long as a command takes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from interlock.agents.errors import UserError
from interlock.agents.workspace.broker import server_include
from interlock.agents.workspace.layout import Layout
from interlock.bus.server.embedded import Durability


@asynccontextmanager
async def resting_broker(layout: Layout, durability: Durability) -> AsyncIterator[str]:
    """Its URL, or those of a cluster. Where there are both, what ran last. Raises UserError where there is no store, and
    ServerFailed.
    """
    nodes = sorted(layout.cluster.glob("node-*"))
    stores = [place for place in (layout.store, *nodes[:1]) if place.is_dir()]
    if not stores:
        raise UserError("no_broker", "no Interlock runs here", "Run `interlock up`, or give --nats URL")
    newest = max(stores, key=_started_ns)
    if newest == layout.store:
        from interlock.bus.server.embedded import EmbeddedServer

        async with EmbeddedServer(layout.store, durability, server_include(layout)) as server:
            yield server.url
        return
    from interlock.bus.server.cluster import embedded_cluster, urls_of

    async with embedded_cluster(layout.cluster, len(nodes), durability, server_include(layout)) as servers:
        yield urls_of(servers)


def _started_ns(store: Path) -> int:
    """When a server was started on it last: its configuration is written then; 0 if there is none."""
    path = store / "server.conf"
    return path.stat().st_mtime_ns if path.exists() else 0
