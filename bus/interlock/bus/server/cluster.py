"""Three nats-servers on loopback as one cluster, for development: `interlock up --cluster 3` (BUS-09, DEP-10).

Streams with three replicas outlive the death of one of their servers. They share a machine, so this shows how a cluster
behaves and keeps nothing safe that one server would not.
"""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing
from pathlib import Path

import anyio

from interlock.bus.server.embedded import Durability, EmbeddedServer

NAME = "interlock"
SIZES = (3, 5)
_START_TIMEOUT_MS = 30_000


@asynccontextmanager
async def embedded_cluster(
    store_dir: Path, size: int = 3, durability: Durability = "fast", config: str = ""
) -> AsyncIterator[list[EmbeddedServer]]:
    """The running servers, each in a directory of its own in store_dir, gone at the end. Raises ServerFailed."""
    ports, secret = free_ports(size), secrets.token_urlsafe(24)
    servers = [
        EmbeddedServer(
            store_dir / f"node-{number}",
            durability,
            config + route_config(number, ports, secret),
            start_timeout_ms=_START_TIMEOUT_MS,
        )
        for number in range(size)
    ]
    async with AsyncExitStack() as stack:
        # None is healthy before most of them have found each other.
        async with anyio.create_task_group() as group:
            for server in servers:
                stack.push_async_exit(server.__aexit__)
                group.start_soon(server.__aenter__)
        yield servers


def urls_of(servers: list[EmbeddedServer]) -> str:
    """All addresses, comma-separated: whoever connects needs only one that lives."""
    return ",".join(server.url for server in servers)


def route_config(number: int, ports: list[int], secret: str) -> str:
    """nats-server's configuration of one node. Routes are open to nobody who does not know the secret."""
    routes = ", ".join(json.dumps(f"nats-route://route:{secret}@127.0.0.1:{port}") for port in ports)
    return f"""
server_name: "{NAME}-{number}"
cluster {{
  name: "{NAME}"
  listen: "127.0.0.1:{ports[number]}"
  authorization {{ user: route, password: {json.dumps(secret)}, timeout: 5 }}
  routes: [{routes}]
}}
"""


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody uses now. Routes are named before the servers start, so those cannot choose."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
