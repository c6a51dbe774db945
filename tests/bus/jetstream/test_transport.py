"""What only a transport over a network can get wrong: lost servers, lost consumers, requests that run out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import pytest

from interlock.bus.errors import NotFound, Refused, Unavailable
from interlock.bus.jetstream import pull
from interlock.bus.jetstream.connection import JetStreamSettings
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.server.embedded import EmbeddedServer
from interlock.bus.streams import ConsumerSpec, Declarations, StreamSpec
from interlock.bus.transport import Incoming, Message, Pace

pytestmark = [pytest.mark.anyio, pytest.mark.nats, pytest.mark.process]

SETTINGS = JetStreamSettings(
    publish_timeout_ms=500, request_timeout_ms=500, no_stream_retry_ms=5_000, reconnect_wait_ms=50
)
STREAM = StreamSpec(name="S", subjects=("s.>",), max_bytes=16 << 20)
CONSUMER = ConsumerSpec(stream="S", name="c", subjects=("s.>",), ack_wait_ms=60_000)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    async with EmbeddedServer(tmp_path) as server:
        yield server


@pytest.fixture
async def transport(server: EmbeddedServer) -> AsyncIterator[JetStreamTransport]:
    async with JetStreamTransport.connect(server.url, name="tester", settings=SETTINGS) as transport:
        await transport.declare(Declarations(streams=(STREAM,), consumers=(CONSUMER,)))
        yield transport


class Collector:
    def __init__(self) -> None:
        self.data: list[bytes] = []

    async def __call__(self, incoming: Incoming) -> None:
        self.data.append(incoming.message.data)
        await incoming.ack()


async def until(condition: Callable[[], bool], within_s: float = 10) -> float:
    """How many seconds it took."""
    began_s = time.monotonic()
    with anyio.fail_after(within_s):
        while not condition():
            await anyio.sleep(0.005)
    return time.monotonic() - began_s


async def publish_again(transport: JetStreamTransport, data: bytes) -> None:
    """Until the connection is back."""
    with anyio.fail_after(10):
        while True:
            try:
                await transport.publish("s.a", data)
                return
            except Unavailable:
                await anyio.sleep(0.02)


async def test_nobody_at_the_address() -> None:
    settings = JetStreamSettings(connect_timeout_ms=300)
    with pytest.raises(Unavailable, match="no NATS server answers") as caught:
        async with JetStreamTransport.connect("nats://127.0.0.1:1", name="tester", settings=settings):
            pass
    assert "--nats" in caught.value.mend


async def test_publishing_to_a_dead_server_fails_in_time(server: EmbeddedServer, transport: JetStreamTransport) -> None:
    server.kill()
    began_s = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        await transport.publish("s.a", b"one")
    assert caught.value.may_have_happened
    assert time.monotonic() - began_s < 3
    with pytest.raises(Unavailable):
        await transport.last("S", "s.a")
    with pytest.raises(Unavailable):
        await transport.request("s.a", b"", timeout_ms=200)


async def test_leaving_with_a_dead_server_takes_no_longer_than_its_bounds(server: EmbeddedServer) -> None:
    with anyio.fail_after(8):
        async with JetStreamTransport.connect(server.url, name="tester", settings=SETTINGS) as transport:
            await transport.declare(Declarations(streams=(STREAM,), consumers=(CONSUMER,)))
            async with transport.consume(CONSUMER, Collector(), concurrency=2):
                server.kill()


async def test_a_consumer_goes_on_after_its_server_came_back(
    server: EmbeddedServer, transport: JetStreamTransport
) -> None:
    collector = Collector()
    async with transport.consume(CONSUMER, collector, concurrency=2):
        await transport.publish("s.a", b"before")
        await until(lambda: collector.data == [b"before"])
        server.kill()
        await server.restart()
        await publish_again(transport, b"after")
        assert await until(lambda: b"after" in collector.data) < pull.HEARTBEAT_S, "it waited for missed heartbeats"


async def test_a_follower_goes_on_without_gap_or_repeat(server: EmbeddedServer, transport: JetStreamTransport) -> None:
    seen: list[int] = []

    async def follow() -> None:
        async with aclosing(transport.read("S", ["s.>"], follow=True)) as messages:
            async for message in messages:
                seen.append(message.sequence)

    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        for round_number in range(2):
            for _ in range(100):
                await publish_again(transport, b"x")
            await until(lambda: len(seen) >= 50 * (round_number + 1))  # noqa: B023 - called at once
            server.kill()
            await server.restart()
        await publish_again(transport, b"last")
        last = await transport.last("S", "s.a")
        assert last is not None
        end = last.sequence
        await until(lambda: bool(seen) and seen[-1] == end)
        group.cancel_scope.cancel()
    assert seen == list(range(1, end + 1))


async def test_a_read_is_never_cut_short_in_silence(
    server: EmbeddedServer, transport: JetStreamTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "HEARTBEAT_S", 0.2)
    for _ in range(70):
        await transport.publish("s.a", b"x" * 200_000)
    seen, told = 0, False
    try:
        async with aclosing(transport.read("S", ["s.>"])) as messages:
            async for _ in messages:
                seen += 1
                if seen == 1:
                    server.kill()
    except Unavailable:
        told = True
    assert told or seen == 70


async def test_a_reader_whose_consumer_is_removed_goes_on(transport: JetStreamTransport) -> None:
    seen: list[bytes] = []

    async def follow() -> None:
        async with aclosing(transport.read("S", ["s.>"], follow=True)) as messages:
            async for message in messages:
                seen.append(message.data)

    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        await transport.publish("s.a", b"1")
        await until(lambda: seen == [b"1"])
        stream = transport.client.jetstream()
        for info in await stream.consumers_info("S"):
            if info.name.startswith("read-"):
                await stream.delete_consumer("S", info.name)
        await transport.publish("s.a", b"2")
        assert await until(lambda: seen == [b"1", b"2"]) < pull.HEARTBEAT_S
        group.cancel_scope.cancel()


async def test_a_follower_of_a_stream_that_is_removed_is_told(transport: JetStreamTransport) -> None:
    await transport.publish("s.a", b"1")
    with pytest.raises(NotFound), anyio.fail_after(10):
        async with aclosing(transport.read("S", ["s.>"], follow=True)) as messages:
            async for _ in messages:
                await transport.client.jetstream().delete_stream("S")


async def test_a_follower_with_much_to_read_keeps_its_pace_hears_nothing_and_can_be_hurried(
    server: EmbeddedServer, transport: JetStreamTransport
) -> None:
    seen: list[bytes] = []
    pace = Pace(gather_ms=3_600_000, hurry=asyncio.Event())
    assert pace.hurry is not None

    async def follow() -> None:
        async with aclosing(other.read("S", ["s.>"], follow=True, pace=pace)) as messages:
            async for message in messages:
                seen.append(message.data)

    async with JetStreamTransport.connect(server.url, name="other") as other, anyio.create_task_group() as group:
        for _ in range(8):
            await transport.publish("s.a", b"0")
        group.start_soon(follow)
        await until(lambda: seen == [b"0"] * 8)
        await other.client.flush()
        heard = other.client.stats["in_msgs"]
        for number in range(1, 4):
            await transport.publish("s.a", b"%d" % number)
            for _ in range(20):
                await transport.last("S", "s.a")
        await other.client.flush()
        assert seen == [b"0"] * 8, "it was asked before the time had come"
        assert other.client.stats["in_msgs"] == heard, "it comes anyway, and need not be told of"
        pace.hurry.set()
        await until(lambda: seen[8:] == [b"1", b"2", b"3"])
        assert not pace.hurry.is_set()
        group.cancel_scope.cancel()


async def test_a_reader_leaves_no_consumer_behind(transport: JetStreamTransport) -> None:
    await transport.publish("s.a", b"1")
    assert [one.data async for one in transport.read("S", ["s.>"])] == [b"1"]
    async with aclosing(transport.read("S", ["s.>"], follow=True)) as messages:
        await anext(messages)
    await transport.client.flush()
    assert [info.name for info in await transport.client.jetstream().consumers_info("S")] == ["c"]


async def test_a_consumer_that_is_not_there_yet_is_asked_now_and_then(transport: JetStreamTransport) -> None:
    late = ConsumerSpec(stream="S", name="late", subjects=("s.>",))
    await transport.publish("s.a", b"one")
    collector = Collector()
    sent = transport.client.stats["out_msgs"]
    async with transport.consume(late, collector, concurrency=4):
        await until(lambda: transport.client.stats["out_msgs"] > sent)
        took_s = await until(lambda: transport.client.stats["out_msgs"] > sent + 2)
        assert took_s > pull.REFUSED_PAUSE_S, "two pauses, less what went before the first look"
        await transport.declare(Declarations(consumers=(late,)))
        assert await until(lambda: collector.data == [b"one"]) < 2


async def test_requests_that_run_out_are_made_again(
    transport: JetStreamTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "EXPIRES_S", 0.4)
    monkeypatch.setattr(pull, "HEARTBEAT_S", 0.2)
    collector, asked = Collector(), list[Message]()
    seen: list[bytes] = []

    async def on_request(request: Message) -> None:
        asked.append(request)

    async def follow() -> None:
        async with aclosing(transport.read("S", ["s.>"], follow=True)) as messages:
            async for message in messages:
                seen.append(message.data)

    async with (
        transport.subscribe("$JS.API.CONSUMER.MSG.NEXT.S.c", on_request),
        transport.consume(CONSUMER, collector, concurrency=3),
        anyio.create_task_group() as group,
    ):
        group.start_soon(follow)
        for number in range(3):
            await transport.publish("s.a", b"%d" % number)
            asked.clear()
            await until(lambda: len(asked) > 1)
        await until(lambda: len(collector.data) == len(seen) == 3)
        group.cancel_scope.cancel()
    assert collector.data == seen == [b"0", b"1", b"2"]


async def test_messages_are_asked_for_in_groups_and_all_workers_work(transport: JetStreamTransport) -> None:
    at_once = most = done = 0
    asked: list[str] = []
    everyone = anyio.Event()

    async def on_incoming(incoming: Incoming) -> None:
        nonlocal at_once, most, done
        at_once, most = at_once + 1, max(most, at_once + 1)
        if most == 8:
            everyone.set()
        if done < 8:
            await everyone.wait()  # long work: eight workers for eight messages, none of them waits behind another
        at_once, done = at_once - 1, done + 1
        await incoming.ack()

    publish = transport.client.publish

    async def counted(subject: str, *parts: Any, **named: Any) -> None:
        if "MSG.NEXT" in subject:
            asked.append(subject)
        await publish(subject, *parts, **named)

    transport.client.publish = counted  # type: ignore[method-assign]  # a double
    async with transport.consume(CONSUMER, on_incoming, concurrency=8):
        for number in range(400):
            await transport.publish("s.a", b"%d" % number)
        await until(lambda: done == 400)
    assert most == 8
    assert len(asked) <= 200, "not one for each"


@pytest.mark.parametrize(
    "url", ["nats://127.0.0.1:99999", "nats://[::1", "nats://a b:1", "http://a:1", "nats://", "", "a:x", "nats://a\n:1"]
)
async def test_what_is_no_url_is_refused_before_anything_is_tried(url: str) -> None:
    with pytest.raises(Refused, match="no NATS url"):
        async with JetStreamTransport.connect(url, name="tests"):
            pass
