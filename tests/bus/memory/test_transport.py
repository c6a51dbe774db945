"""What only the memory transport promises: a clock that is moved by hand, one that runs, and speed."""

from __future__ import annotations

import time

import anyio
import pytest

from interlock.bus.clock import Clock, ManualClock, SystemClock
from interlock.bus.errors import Unavailable
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.streams import ConsumerSpec, Declarations, StreamSpec, declarations, inbox_of
from interlock.bus.transport import Incoming, Message

pytestmark = pytest.mark.anyio

STREAM = StreamSpec(name="S", subjects=("s.>",), max_bytes=0)
CONSUMER = ConsumerSpec(stream="S", name="c", subjects=("s.>",), ack_wait_ms=3_600_000, max_deliver=24)


async def made(clock: Clock, consumer: ConsumerSpec = CONSUMER) -> MemoryTransport:
    transport = MemoryTransport(clock)
    await transport.declare(Declarations(streams=(STREAM,), consumers=(consumer,)))
    return transport


async def test_a_day_of_redeliveries_takes_no_time() -> None:
    clock = ManualClock()
    transport = await made(clock)
    seen: list[tuple[int, int]] = []
    advisories: list[Message] = []

    async def on_incoming(incoming: Incoming) -> None:
        seen.append((clock.now_ms() - start_ms, incoming.message.delivered))

    async def on_advisory(message: Message) -> None:
        advisories.append(message)

    start_ms, began_s = clock.now_ms(), time.monotonic()
    async with transport.consume(CONSUMER, on_incoming, concurrency=1), transport.subscribe("$JS.>", on_advisory):
        await transport.publish("s.a", b"poison")
        await transport.settle()
        for _ in range(24):
            clock.advance(3_599_999)
            await transport.settle()
            clock.advance(1)
            await transport.settle()
    assert seen == [(3_600_000 * number, number + 1) for number in range(24)]
    assert len(advisories) == 1
    assert time.monotonic() - began_s < 5


async def test_settle_waits_for_handlers_that_deal_with_the_broker() -> None:
    """A chain of a hundred hops, each with some turns of the event loop between, is through when settle returns."""
    transport = await made(ManualClock())
    hops = 0

    async def on_incoming(incoming: Incoming) -> None:
        nonlocal hops
        hops += 1
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        if hops < 100:
            await transport.publish(f"s.{hops}", b"")
        await incoming.ack()

    async with transport.consume(CONSUMER, on_incoming, concurrency=2):
        await transport.publish("s.0", b"")
        await transport.settle()
        assert hops == 100


async def test_nothing_happens_before_settle() -> None:
    clock = ManualClock()
    transport = await made(clock)
    seen: list[int] = []

    async def on_incoming(incoming: Incoming) -> None:
        seen.append(incoming.message.delivered)

    async with transport.consume(CONSUMER, on_incoming, concurrency=1):
        await transport.publish("s.a", b"")
        await transport.settle()
        clock.advance(10 * 3_600_000)
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        assert seen == [1]
        await transport.settle()
        assert seen == [1, 2]


async def test_with_a_running_clock_the_event_loop_does_it() -> None:
    consumer = ConsumerSpec(stream="S", name="c", subjects=("s.>",), ack_wait_ms=30)
    transport = await made(SystemClock(), consumer)
    third = anyio.Event()

    async def on_incoming(incoming: Incoming) -> None:
        if incoming.message.delivered == 3:
            await incoming.ack()
            third.set()

    async def ignore(message: Message) -> None:
        pass

    with anyio.fail_after(5):
        async with transport.consume(consumer, on_incoming, concurrency=1):
            began_s = time.monotonic()
            await transport.publish("s.a", b"")
            await third.wait()
            assert time.monotonic() - began_s >= 0.055
        async with transport.subscribe("ask", ignore):
            with pytest.raises(Unavailable, match="within 20 ms"):
                await transport.request("ask", b"", timeout_ms=20)


async def test_a_clock_that_goes_back_loses_nothing() -> None:
    clock = ManualClock()
    transport = await made(clock)
    seen: list[int] = []

    async def on_incoming(incoming: Incoming) -> None:
        seen.append(incoming.message.delivered)

    async with transport.consume(CONSUMER, on_incoming, concurrency=1):
        await transport.publish("s.a", b"")
        await transport.settle()
        clock.advance(-3_600_000)
        await transport.settle()
        assert seen == [1]
        clock.advance(2 * 3_600_000)
        await transport.settle()
        assert seen == [1, 2]


async def test_everything_that_up_creates_can_be_declared() -> None:
    transport = MemoryTransport(ManualClock())
    await transport.declare(declarations(("default", "other")))
    await transport.declare(declarations(("default", "other")), bind_only=True)


async def test_fast_enough_for_large_simulations() -> None:
    """Far below what is measured (200 k publishes/s, 50 k deliveries/s), so that only a change of kind is caught."""
    transport = MemoryTransport(ManualClock())
    await transport.declare(declarations(("w",)))
    count, delivered = 20_000, 0

    async def on_incoming(incoming: Incoming) -> None:
        nonlocal delivered
        delivered += 1
        await incoming.ack()

    began_s = time.process_time()
    for number in range(count):
        await transport.publish(f"interlock.w.role.executor.{number % 100}.act", b"x" * 500, message_id=str(number))
    published_s = time.process_time() - began_s
    began_s = time.process_time()
    async with transport.consume(inbox_of("w", "executor"), on_incoming, concurrency=16):
        await transport.settle()
    delivered_s = time.process_time() - began_s
    assert delivered == count
    assert count / published_s > 50_000
    assert count / delivered_s > 8_000
