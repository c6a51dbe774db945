"""HTTP/1.1 on asyncio streams: as much as API clients speak, and a hand on the socket for the faults (cut, stall, halve)."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

_MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 3 * 1024 * 1024  # what etcd's request limit allows a real API server


class Cut(Exception):
    """Ends the connection without an answer."""


@dataclass(frozen=True, slots=True)
class Request:
    """path: decoded, without the query; headers: names in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Response:
    """body: what is sent, or `chunks`: what is streamed until it ends. keep_bytes: cut the connection after so many
    bytes of the body. silent: no answer at all, the connection stays open until the client gives up.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    chunks: AsyncIterator[bytes] | None = None
    keep_bytes: int | None = None
    silent: bool = False


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The value as compact JSON."""
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return Response(status=status, body=body, headers=dict(headers or {}))


Handler = Callable[[Request], Awaitable[Response]]


async def serve(handler: Handler, host: str, port: int, trust: ssl.SSLContext | None = None) -> asyncio.Server:
    """Answers each connection's requests one after the other; over TLS with a context."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read(reader)) is not None:
                response = await handler(request)
                if response.silent:
                    await reader.read()  # until the client hangs up
                    return
                if not await _write(reader, writer, response):
                    return
                if request.headers.get("connection", "").lower() == "close":
                    return
        except (Cut, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return
        except ValueError:
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        finally:
            writer.close()

    return await asyncio.start_server(connection, host, port, limit=_MAX_HEAD_BYTES, ssl=trust)


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise
    first, *lines = head.split("\r\n")
    method, target, _version = first.split(" ")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
    }
    url = urlsplit(target)
    return Request(
        method=method,
        path=unquote(url.path),
        query=dict(parse_qsl(url.query, keep_blank_values=True)),
        headers=headers,
        body=await _read_body(reader, headers),
    )


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = b""
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            if len(body) + size > MAX_BODY_BYTES:
                raise Cut
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readuntil(b"\r\n")
        return body
    length = int(headers.get("content-length", "0"))
    if length > MAX_BODY_BYTES:
        raise Cut
    return await reader.readexactly(length)


async def _write(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, response: Response) -> bool:
    """Gives True when the connection can take the next request."""
    phrase = HTTPStatus(response.status).phrase
    head = [f"HTTP/1.1 {response.status} {phrase}", f"Content-Type: {response.content_type}"]
    head += [f"{name}: {value}" for name, value in response.headers.items()]
    head.append(
        "Transfer-Encoding: chunked" if response.chunks is not None else f"Content-Length: {len(response.body)}"
    )
    writer.write(("\r\n".join(head) + "\r\n\r\n").encode("latin-1"))
    if response.chunks is not None:
        await _stream(reader, writer, response.chunks)
        return True
    if response.keep_bytes is not None:
        writer.write(response.body[: response.keep_bytes])
        await writer.drain()
        return False
    writer.write(response.body)
    await writer.drain()
    return True


async def _stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chunks: AsyncIterator[bytes]) -> None:
    """Sends chunks until they end or the client hangs up, whichever is first."""

    async def send() -> None:
        async for chunk in chunks:
            writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    await writer.drain()
    sending = asyncio.ensure_future(send())
    hanging_up = asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait({sending, hanging_up}, return_when=asyncio.FIRST_COMPLETED)
        if not sending.done():
            raise Cut
        sending.result()
    finally:
        for task in (sending, hanging_up):
            task.cancel()
        await asyncio.gather(sending, hanging_up, return_exceptions=True)
