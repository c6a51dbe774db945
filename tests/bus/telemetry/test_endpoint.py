"""The HTTP endpoint: three pages, and nothing that a client does harms the process."""

from __future__ import annotations

import anyio
import pytest

from interlock.bus.telemetry import endpoint as subject
from interlock.bus.telemetry.endpoint import MAX_CONNECTIONS, Endpoint, Page, parse, serving

pytestmark = pytest.mark.anyio


async def page(accept: str) -> Page:
    return Page(200, f"you accept {accept or 'nothing'}\n".encode())


async def broken(_: str) -> Page:
    raise RuntimeError("a gauge is broken")


PAGES = {"/health": page, "/broken": broken}


async def asked(endpoint: Endpoint, request: bytes) -> bytes:
    async with await anyio.connect_tcp(endpoint.host, endpoint.port) as stream:
        await stream.send(request)
        received = b""
        with anyio.fail_after(10):
            try:
                while True:
                    received += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return received


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        (b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", 200, b"you accept nothing\n"),
        (b"GET /health?a=b HTTP/1.0\r\nACCEPT: text/plain\r\n\r\n", 200, b"you accept text/plain\n"),
        (b"HEAD /health HTTP/1.1\r\n\r\n", 200, b""),
        (b"GET / HTTP/1.1\r\n\r\n", 404, b"there is"),
        (b"GET /../etc/passwd HTTP/1.1\r\n\r\n", 404, b"there is"),
        (b"POST /health HTTP/1.1\r\n\r\n", 405, b"only GET"),
        (b"GET /broken HTTP/1.1\r\n\r\n", 500, b"could not be made"),
        (b"hello\r\n\r\n", 400, b"no HTTP"),
        (b"\r\n\r\n", 400, b"no HTTP"),
        (b"\xff\xfe\r\n\r\n", 400, b"no HTTP"),
        (b"GET /health SMTP/1.1\r\n\r\n", 400, b"no HTTP"),
        (b"GET /" + b"a" * 9_000, 431, b"too long"),
    ],
)
async def test_answers(request_: bytes, status: int, body: bytes) -> None:
    async with serving("127.0.0.1", 0, PAGES) as endpoint:
        answer = await asked(endpoint, request_)
        head, _, found = answer.partition(b"\r\n\r\n")
        assert head.startswith(f"HTTP/1.1 {status} ".encode()) and body in found
        assert b"\r\nConnection: close\r\n" in head + b"\r\n"
        assert (await asked(endpoint, b"GET /health HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")


async def test_who_says_nothing_is_put_out_and_no_crowd_of_them_keeps_others_out_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subject, "TIMEOUT_S", 0.2)
    async with serving("127.0.0.1", 0, PAGES) as endpoint:
        crowd = [await anyio.connect_tcp(endpoint.host, endpoint.port) for _ in range(MAX_CONNECTIONS + 5)]
        with anyio.fail_after(5):
            while not (await asked(endpoint, b"GET /health HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200"):
                await anyio.sleep(0.01)
        for stream in crowd:
            await stream.aclose()


async def test_a_client_that_leaves_in_the_middle_harms_nobody() -> None:
    async with serving("127.0.0.1", 0, PAGES) as endpoint:
        for request in (b"", b"GET /hea", b"GET /health HTTP/1.1\r\n\r\n"):
            stream = await anyio.connect_tcp(endpoint.host, endpoint.port)
            await stream.send(request) if request else None
            await stream.aclose()
        assert (await asked(endpoint, b"GET /health HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def test_a_port_that_is_taken_is_told() -> None:
    async with serving("127.0.0.1", 0, PAGES) as endpoint:
        with pytest.raises(OSError):
            async with serving("127.0.0.1", endpoint.port, PAGES):
                pass


def test_the_url_of_an_ipv6_address() -> None:
    assert Endpoint("::1", 9464).url == "http://[::1]:9464"
    assert parse(b"") == ("", "", "")
