"""A small HTTP server for whoever watches this process: `/metrics`, `/health`, `/ready` and nothing else (OPS-02).

HTTP/1.1, GET and HEAD, one request a connection, everything bounded: no client can hold up or fill the process.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

import anyio
from anyio.abc import SocketAttribute, SocketStream
from msgspec import Struct

from interlock.bus.tasks import background

log = logging.getLogger("interlock.telemetry")
MAX_REQUEST_BYTES = 8_192
TIMEOUT_S = 10.0
MAX_CONNECTIONS = 32
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
WORDS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 500: "Internal Server Error"}
WORDS |= {408: "Request Timeout", 431: "Request Header Fields Too Large", 503: "Service Unavailable"}


class Page(Struct, frozen=True):
    """An answer. kind: its media type."""

    status: int
    body: bytes
    kind: str = TEXT


# Answers one path; given the Accept header of the request.
Pages = Mapping[str, Callable[[str], Awaitable[Page]]]


class Endpoint(Struct, frozen=True):
    host: str
    port: int

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


@asynccontextmanager
async def serving(host: str, port: int, pages: Pages) -> AsyncIterator[Endpoint]:
    """Serves while the context lasts. port 0: any that is free. Raises OSError when the port is taken."""
    listener = await anyio.create_tcp_listener(local_host=host, local_port=port, reuse_port=False)
    async with listener, background() as group:
        room = anyio.CapacityLimiter(MAX_CONNECTIONS)
        group.start_soon(partial(listener.serve, partial(_serve, pages, room)))
        bound: int = listener.extra(SocketAttribute.local_port)  # noqa: S610 - not Django's
        yield Endpoint(host, bound)


async def _serve(pages: Pages, room: anyio.CapacityLimiter, stream: SocketStream) -> None:
    try:
        async with stream:
            if room.available_tokens < 1:
                return  # that many are slow already; whoever comes now comes again
            async with room:
                with anyio.move_on_after(TIMEOUT_S):
                    await _answer(pages, stream)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, OSError):
        return  # gone without a word


async def _answer(pages: Pages, stream: SocketStream) -> None:
    received = bytearray()
    while b"\r\n\r\n" not in received and b"\n\n" not in received:
        if len(received) > MAX_REQUEST_BYTES:
            await _send(stream, Page(431, b"too long\n"))
            return
        received += await stream.receive(4_096)
    method, path, accept = parse(bytes(received))
    page = Page(400, b"no HTTP request\n")
    if method in ("GET", "HEAD"):
        answer = pages.get(path)
        page = Page(404, b"there is /metrics, /health and /ready\n") if answer is None else await _page(answer, accept)
    elif method:
        page = Page(405, b"only GET\n")
    await _send(stream, page, with_body=method != "HEAD")


async def _page(answer: Callable[[str], Awaitable[Page]], accept: str) -> Page:
    """Whatever is wrong with what is shown, the process goes on."""
    try:
        return await answer(accept)
    except Exception:
        log.exception("a page could not be made")
        return Page(500, b"this page could not be made; the log says why\n")


def parse(request: bytes) -> tuple[str, str, str]:
    """(method, path, Accept); an empty method for what is no HTTP request. The query is nobody's business."""
    lines = request.decode("latin-1").splitlines()
    words = lines[0].split(" ") if lines else []
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[0].isalpha():
        return "", "", ""
    accept = next((line.partition(":")[2].strip() for line in lines[1:] if line.lower().startswith("accept:")), "")
    return words[0].upper(), words[1].partition("?")[0], accept


async def _send(stream: SocketStream, page: Page, *, with_body: bool = True) -> None:
    head = (
        f"HTTP/1.1 {page.status} {WORDS[page.status]}\r\nContent-Type: {page.kind}\r\n"
        f"Content-Length: {len(page.body)}\r\nConnection: close\r\nX-Content-Type-Options: nosniff\r\n\r\n"
    )
    await stream.send(head.encode() + (page.body if with_body else b""))
