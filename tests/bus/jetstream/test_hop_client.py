"""The short way must be nats-py's in everything but its price."""

from __future__ import annotations

import asyncio
import string
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from interlock.bus.jetstream.headers import header_block, plain_headers, status_headers
from interlock.bus.jetstream.hop_client import HopClient
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.server.embedded import EmbeddedServer

NAMES = st.text(string.ascii_letters + string.digits + "-_ :\r\n\x1cé", min_size=0, max_size=12)
VALUES = st.text(string.printable + "\x1cé€", max_size=30)
RAW = st.lists(st.tuples(NAMES, st.sampled_from([": ", ":", ":\t", ""]), VALUES), max_size=4)


@given(RAW)
def test_headers_are_read_as_nats_py_reads_them_or_left_to_it(lines: list[tuple[str, str, str]]) -> None:
    body = "".join(name + colon + value + "\r\n" for name, colon, value in lines).encode()
    found = plain_headers(b"NATS/1.0\r\n" + body + b"\r\n")
    assert found is None or found == Client._parse_header_lines(body)


@pytest.mark.parametrize(
    "block", [b"NATS/1.0 404\r\n\r\n", b"NATS/1.0 100 Idle Heartbeat\r\nA: b\r\n\r\n", b"NATS/1.0\r\n\r\n", b""]
)
def test_a_status_is_left_to_nats_py(block: bytes) -> None:
    assert plain_headers(block) is None


WORDS = st.sampled_from(["", " ", " EOB", " No Messages", " Idle Heartbeat", " a  b", "  x ", " é", "\r\nwords"])


@given(st.sampled_from(["404", "100", "4x4", "40", "2040"]), WORDS, RAW)
def test_a_status_is_read_as_nats_py_reads_it_or_left_to_it(number: str, words: str, lines: list[Any]) -> None:
    body = "".join(name + colon + value + "\r\n" for name, colon, value in lines)
    block = f"NATS/1.0 {number}{words}\r\n{body}\r\n".encode()
    found = status_headers(block)
    assert found is None or found == anyio.run(Client()._process_headers, block)


def test_the_statuses_of_a_read_are_read_by_the_short_way() -> None:
    block = b"NATS/1.0 204 EOB\r\nNats-Num-Pending: 0\r\nNats-Last-Sequence: 7\r\n\r\n"
    expected = {"Status": "204", "Description": "EOB", "Nats-Num-Pending": "0", "Nats-Last-Sequence": "7"}
    assert status_headers(block) == expected
    assert status_headers(b"NATS/1.0 404\r\n\r\n") == {"Status": "404"}
    assert status_headers(b"NATS/1.0\r\nA: b\r\n\r\n") is None


def test_what_we_write_is_read_by_the_short_way() -> None:
    headers = {"Nats-Msg-Id": "01a1fd19-022b", "traceparent": "00-ab-cd-01"}
    block = header_block(headers)
    assert block is not None
    assert plain_headers(block) == headers


class Recorded:
    """Both clients with nothing but the buffer that goes to the socket."""

    def __init__(self, kind: type[Client]) -> None:
        self.client = kind()
        self.client._max_pending_size = 1 << 20
        self.client._max_payload = 40

    async def written(
        self, subject: str, headers: dict[str, Any] | None, data: bytes, reply: str, status: int
    ) -> bytes | str:
        self.client._status = status
        try:
            await self.client.publish(subject, data, reply, headers)
        except Exception as error:
            return repr(error)
        return b"".join(self.client._pending) + repr(self.client.stats).encode()


SUBJECTS = st.sampled_from(["a.b", "a b", "", "é", "a\r\nPUB x 0"])
STATES = st.sampled_from([Client.CONNECTED, Client.CONNECTED, Client.RECONNECTING, Client.CLOSED, Client.DRAINING_PUBS])


ASKED = st.tuples(
    SUBJECTS,
    st.none() | st.dictionaries(NAMES, VALUES, max_size=3),
    st.binary(max_size=50),
    st.sampled_from(["", "r.1", "r 1"]),
    STATES,
)


@given(ASKED)
def test_a_publish_is_written_or_refused_as_nats_py_does(asked: Any) -> None:
    assert anyio.run(Recorded(HopClient).written, *asked) == anyio.run(Recorded(Client).written, *asked)


class Heard:
    """A client that is read to: what reaches subscription 1, which may be a raw one, and 2, which is not."""

    def __init__(self, raw: bool) -> None:
        self.got: list[Any] = []
        self.client = HopClient() if raw else Client()
        if isinstance(self.client, HopClient):
            self.client._raw[1] = self.take

    def take(self, message: Msg) -> None:
        self.got.append((message.subject, message.reply, message.data, message.headers))

    async def read(self, pieces: list[bytes]) -> tuple[list[Any], dict[str, int], bytes]:
        parser = self.client._ps
        for sid in (1, 2):
            self.client._subs[sid] = subscription = Subscription(self.client, sid, "x", cb=_nothing)
            subscription._pending_queue = asyncio.Queue()
        for piece in pieces:
            await parser.parse(piece)
        for subscription in self.client._subs.values():
            while not subscription._pending_queue.empty():
                self.take(subscription._pending_queue.get_nowait())
        return sorted(self.got, key=repr), self.client.stats, bytes(parser.buf)


async def _nothing(_: Msg) -> None:
    return None


HEADERS = st.sampled_from(["", "NATS/1.0\r\nA: b\r\n\r\n", "NATS/1.0 404\r\n\r\n", "NATS/1.0\r\nA:  \x1cb\r\n\r\n"])
LINES = st.tuples(st.sampled_from([1, 2, 3]), st.sampled_from(["", "r.1", "5"]), HEADERS, st.binary(max_size=30))


def protocol(sid: int, reply: str, headers: str, data: bytes) -> bytes:
    block, words = headers.encode(), f"a.b {sid} {reply} ".replace("  ", " ")
    sizes = f"{len(block)} {len(block) + len(data)}" if headers else str(len(data))
    return f"{'H' if headers else ''}MSG {words}{sizes}\r\n".encode() + block + data + b"\r\n"


@given(st.lists(LINES.map(lambda line: protocol(*line)) | st.just(b"+OK\r\n"), max_size=8), st.data())
def test_what_comes_is_read_as_nats_py_reads_it_however_it_is_cut(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert anyio.run(Heard(raw=True).read, pieces) == anyio.run(Heard(raw=False).read, pieces)


def test_a_large_message_arrives_in_many_parts() -> None:
    stream = protocol(1, "", "", b"x" * 300_000) + protocol(1, "r", "NATS/1.0\r\nA: b\r\n\r\n", b"y")
    pieces = [stream[at : at + 32_768] for at in range(0, len(stream), 32_768)]
    got, _, left = anyio.run(Heard(raw=True).read, pieces)
    assert [(len(data), headers) for _, _, data, headers in got] == [(300_000, None), (1, {"A": "b"})] and left == b""


async def flushed(client: Client) -> None:
    """Twice: nats-py writes a PING at once, which may overtake what its flusher still holds."""
    await client.flush()
    await client.flush()


@pytest.mark.anyio
@pytest.mark.nats
@pytest.mark.process
async def test_a_raw_subscription_gets_messages_in_order_and_ends(tmp_path: Any) -> None:
    async with (
        EmbeddedServer(tmp_path) as server,
        JetStreamTransport.connect(server.url, name="tester") as transport,
    ):
        got: list[tuple[bytes, Any]] = []
        subscription = await transport.client.subscribe_raw("a.*", lambda raw: got.append((raw.data, raw.headers)))
        for number in range(3):
            await transport.client.publish("a.b", b"%d" % number, headers={"N": "v v" if number else "v"})
        await flushed(transport.client)
        assert got == [(b"0", {"N": "v"}), (b"1", {"N": "v v"}), (b"2", {"N": "v v"})]
        heard: list[tuple[bytes, Any]] = []
        await transport.client.subscribe_raw("c", lambda raw: heard.append((raw.data, raw.headers)), headers=False)
        await transport.client.publish("c", b"x", headers={"N": "v"})
        await flushed(transport.client)
        assert heard == [(b"x", None)]
        await subscription.unsubscribe()
        await transport.client.publish("a.b", b"late")
        await flushed(transport.client)
        assert len(got) == 3
        assert subscription._id not in transport.client._raw


@pytest.mark.anyio
@pytest.mark.nats
async def test_a_flush_that_is_cancelled_does_not_end_the_reading(nats_server: EmbeddedServer) -> None:
    """nats-py would try to complete the future that nobody waits for any more, and never read again."""
    async with JetStreamTransport.connect(nats_server.url, name="tests") as transport:
        for _ in range(3):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await transport.client.flush()
            with anyio.move_on_after(0):
                await transport.client.flush()
        with anyio.fail_after(10):
            await transport.client.flush()
        assert transport.client.is_connected


@pytest.mark.anyio
@pytest.mark.nats
@pytest.mark.parametrize("size", [10, 30_000, 200_000], ids=str)
async def test_a_burst_beyond_every_buffer_goes_out_whole_and_in_order(nats_server: EmbeddedServer, size: int) -> None:
    count = 100
    async with JetStreamTransport.connect(nats_server.url, name="tests") as transport:
        got: list[int] = []
        await transport.client.subscribe_raw(f"burst.{size}", lambda raw: got.append(int(raw.data[:3])))
        for number in range(count):
            await transport.client.publish(f"burst.{size}", b"%03d" % number + b"x" * size)
            if number % 10 == 0:
                await anyio.sleep(0)
        with anyio.fail_after(10):
            while len(got) < count:
                await flushed(transport.client)
        assert got == list(range(count))


@pytest.mark.anyio
@pytest.mark.nats
async def test_what_the_socket_does_not_take_at_once_is_left_to_the_flusher(
    nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.bus.jetstream.hop_client._MOST_BUFFERED", 0)
    async with JetStreamTransport.connect(nats_server.url, name="tests") as transport:
        heard = anyio.Event()
        await transport.client.subscribe_raw("left", lambda raw: heard.set())
        await transport.client.publish("left", b"x")
        with anyio.fail_after(10):
            await heard.wait()


@pytest.mark.anyio
async def test_without_a_connection_nothing_is_flushed_and_nothing_lost() -> None:
    client = HopClient()
    client._max_pending_size = 1 << 20
    await client._send_publish("a", "", b"x", 1, None)
    await anyio.sleep(0)
    assert client._pending == [b"PUB a  1\r\nx\r\n"]
