"""The same shape on other libraries: one process produces and consumes 1.2 KB messages through JetStream (AutoGen: its
own gRPC runtime). They are a bench extra, not a dependency: `pip install -e .[bench]`.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from pathlib import Path
from typing import Any

import uvloop

from interlock.agents.process import collect_rarely
from interlock.bus.hop import DONE, Hop, Outcome
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.sender import Identity, Sender
from interlock.bus.server.embedded import EmbeddedServer
from interlock.envelope.amounts import Amount, clock_ms
from interlock.envelope.ids import new_id
from interlock.envelope.own_seals import OwnSeals
from scripts.bench import hops, mandates
from scripts.bench.executing import executing
from scripts.bench.pump import WARM, Tally, pump


async def governed(url: str, count: int, own: OwnSeals | None = None) -> float:
    """Everything on. own: the process hosts both agents and knows what it sealed; without, every signature is checked."""
    async with JetStreamTransport.connect(url, name="executor") as transport:
        tally = Tally()

        async def handler(_: Hop) -> Outcome:
            tally.one_more()
            return DONE

        sender = Sender(transport, Identity("orchestrator", mandates.KEYS["orchestrator"]), own=own)
        goal_id = new_id(clock_ms())
        parent = mandates.mandate(goal_id, Amount(10**6, 10**9, 10**9, 10**9))
        async with executing(transport, goal_id, count + WARM, handler, own=own):
            return await pump(
                count, lambda number: sender.send(parent, [mandates.draft(number)], now_ms=clock_ms()), tally
            )


async def governed_host(url: str, count: int) -> float:
    return await governed(url, count, OwnSeals())


async def nats_py(url: str, count: int) -> float:
    import nats

    client = await nats.connect(url)
    context, tally = client.jetstream(), Tally()

    async def on_message(message: Any) -> None:
        await message.ack()
        tally.one_more()

    await context.add_stream(name="PEER", subjects=["peer.raw"])
    await context.subscribe("peer.raw", cb=on_message, manual_ack=True, pending_msgs_limit=0, pending_bytes_limit=0)
    try:
        return await pump(count, lambda _number: context.publish("peer.raw", b"x" * mandates.BYTES), tally)
    finally:
        await client.close()


async def faststream(url: str, count: int) -> float:
    from faststream import AckPolicy
    from faststream.nats import JStream, NatsBroker

    broker, tally = NatsBroker(url, logger=None), Tally()

    @broker.subscriber("peer.fast", stream=JStream("FAST"), ack_policy=AckPolicy.ACK)
    async def handle(_: bytes) -> None:
        tally.one_more()

    async with broker:
        await broker.start()
        data = b"x" * mandates.BYTES
        return await pump(count, lambda _number: broker.publish(data, "peer.fast", stream="FAST"), tally)


async def autogen(url: str, count: int) -> float:
    from scripts.bench.peer_autogen import autogen as measured

    return await measured(url, count)


JOBS = {
    "governed": governed_host,
    "governed_every_signature": governed,
    "nats-py": nats_py,
    "faststream": faststream,
    "autogen": autogen,
}


def alone(name: str, url: str, count: int, results: Any) -> None:
    """In a process of its own, which collects garbage as a role's does, whoever is measured."""
    collect_rarely()
    try:
        results[name] = uvloop.run(JOBS[name](url, count))
    except ImportError as error:
        results[name] = str(error)


def measure(count: int) -> dict[str, float]:
    """A peer that is not installed is told and left out."""
    context, figures = multiprocessing.get_context("spawn"), {}
    with context.Manager() as manager:
        results = manager.dict()
        for name in JOBS:
            with tempfile.TemporaryDirectory() as place:
                server = EmbeddedServer(Path(place))
                server.start()
                try:
                    uvloop.run(hops.declare(server.url, count))
                    process = context.Process(target=alone, args=(name, server.url, count, results))
                    process.start()
                    process.join()
                finally:
                    server.stop()
            if isinstance(results[name], str):
                print(f"peers.{name}: not measured ({results[name]}); install the bench extra")
            else:
                figures[f"peers.{name}"] = results[name]
    if "peers.faststream" in figures:
        for name in ("governed", "governed_every_signature"):
            figures[f"peers.{name}_to_faststream"] = figures[f"peers.{name}"] / figures["peers.faststream"]
    return figures
