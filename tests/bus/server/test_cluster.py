"""Three servers on loopback: what one of them acknowledged, the others have when it is killed."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from interlock.bus.errors import BusError, Refused
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.server.cluster import embedded_cluster, free_ports, route_config, urls_of
from interlock.bus.streams import Declarations, StreamSpec

STREAM = StreamSpec(name="S", subjects=("s.>",), max_bytes=1 << 20)


@pytest.mark.anyio
@pytest.mark.process
async def test_nothing_acknowledged_is_lost_with_a_server(tmp_path: Path) -> None:
    async with embedded_cluster(tmp_path, 3) as servers:
        async with JetStreamTransport.connect(urls_of(servers), name="tests") as transport:
            await transport.declare(Declarations(streams=(STREAM,), replicas=3))
            acknowledged = [(await transport.publish("s.a", b"%d" % number)).sequence for number in range(20)]
            servers[0].kill()
            await servers[0].wait_died()
            with anyio.fail_after(20):
                while True:
                    try:
                        acknowledged.append((await transport.publish("s.a", b"after")).sequence)
                        break
                    except BusError:
                        await anyio.sleep(0.05)
                while True:  # the new leader may not answer for the stream yet
                    try:
                        held = [message.sequence async for message in transport.read("S", ["s.>"])]
                        break
                    except BusError:
                        await anyio.sleep(0.05)
            assert set(acknowledged) <= set(held)
        stores = [server.store_dir.name for server in servers]
    assert stores == ["node-0", "node-1", "node-2"]


def test_routes_ask_for_a_secret_and_name_every_node() -> None:
    ports = free_ports(3)
    assert len(set(ports)) == 3
    told = route_config(1, ports, "s3cret")
    assert all(f"nats-route://route:s3cret@127.0.0.1:{port}" in told for port in ports)
    assert f'listen: "127.0.0.1:{ports[1]}"' in told
    assert 'password: "s3cret"' in told


@pytest.mark.anyio
async def test_each_of_several_urls_is_looked_at() -> None:
    with pytest.raises(Refused):
        async with JetStreamTransport.connect("nats://127.0.0.1:4222,http://x", name="tests"):
            pass
