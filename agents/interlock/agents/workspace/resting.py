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
    nodes, newest = _nodes(layout), _newest(layout)
    if newest is None:
        raise UserError("no_broker", "no Interlock runs here", "Run `interlock up`, or give --nats URL")
    if newest == layout.store:
        from interlock.bus.server.embedded import EmbeddedServer

        async with EmbeddedServer(layout.store, durability, server_include(layout)) as server:
            yield server.url
        return
    from interlock.bus.server.cluster import embedded_cluster, urls_of

    async with embedded_cluster(layout.cluster, len(nodes), durability, server_include(layout)) as servers:
        yield urls_of(servers)


def rests_in_cluster(layout: Layout) -> bool:
    """Whether what ran last was the workspace's own cluster."""
    return _newest(layout) not in (None, layout.store)


def _nodes(layout: Layout) -> list[Path]:
    return sorted(layout.cluster.glob("node-*"))


def _newest(layout: Layout) -> Path | None:
    stores = [place for place in (layout.store, *_nodes(layout)[:1]) if place.is_dir()]
    return max(stores, key=_started_ns, default=None)


def _started_ns(store: Path) -> int:
    """When a server was started on it last: its configuration is written then; 0 if there is none."""
    path = store / "server.conf"
    return path.stat().st_mtime_ns if path.exists() else 0
