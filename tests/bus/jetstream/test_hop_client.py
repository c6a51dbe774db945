"""The short way must be nats-py's in everything but its price."""

from __future__ import annotations

import string
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client

from interlock.bus.jetstream.hop_client import HopClient, header_block, plain_headers, status_headers
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

    async def written(self, headers: dict[str, Any] | None, data: bytes, reply: str) -> bytes | str:
        try:
            await self.client._send_publish("a.b", reply, data, len(data), headers)
        except Exception as error:
            return repr(error)
        return b"".join(self.client._pending) + repr(self.client.stats).encode()


@given(st.none() | st.dictionaries(NAMES, VALUES, max_size=3), st.binary(max_size=50), st.sampled_from(["", "r.1"]))
def test_a_publish_is_written_as_nats_py_writes_it(headers: dict[str, Any] | None, data: bytes, reply: str) -> None:
    ours = anyio.run(Recorded(HopClient).written, headers, data, reply)
    assert ours == anyio.run(Recorded(Client).written, headers, data, reply)


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
