"""The same shape on other libraries, each in a process of its own: one process produces and consumes 1.2 KB messages through
JetStream (AutoGen: its own gRPC runtime). Run by peers.py: python -m scripts.bench.peer NAME URL COUNT
"""

from __future__ import annotations

import sys
from typing import Any

import uvloop

from interlock.agents.process import collect_rarely
from interlock.bus.hop import DONE, Hop, Outcome
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.sender import Identity, Sender
from interlock.envelope.amounts import Amount, clock_ms
from interlock.envelope.ids import new_id
from interlock.envelope.own_seals import OwnSeals
from scripts.bench import mandates
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


PEERS = {
    "governed": governed_host,
    "governed_every_signature": governed,
    "nats-py": nats_py,
    "faststream": faststream,
    "autogen": autogen,
}


if __name__ == "__main__":
    _, name, url, count = sys.argv
    collect_rarely()  # as a role does, whoever is measured
    try:
        print(uvloop.run(PEERS[name](url, int(count))))
    except ImportError as error:
        sys.exit(f"not installed: {error}")
