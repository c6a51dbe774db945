"""Posting to a webhook: signed, once, bounded in time and in what is read, nowhere but where the settings say."""

from __future__ import annotations

import hashlib
import hmac
import re
from urllib.parse import urlsplit

import anyio
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream
from msgspec import Struct

from interlock.bus.backoff import Backoff

SIGNATURE = "Interlock-Signature"
TIMESTAMP = "Interlock-Timestamp"
TIMEOUT_S = 10.0
LOOPBACK = ("127.0.0.1", "::1", "localhost")
JSON = "application/json"
# Another try may help: the other side was busy, asked for patience, or failed.
TRANSIENT = frozenset({408, 425, 429})
MOST_HEAD_BYTES = 64 << 10
MOST_HEADS = 8
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})[ \r]")
_BROKEN = (anyio.BrokenResourceError, anyio.EndOfStream, anyio.IncompleteRead, anyio.DelimiterNotFound)


class Webhook(Struct, frozen=True, kw_only=True):
    """Where and how. secret: signs the body; retry: the pauses between tries, of which the broker allows eight."""

    url: str
    secret: bytes
    retry: Backoff = Backoff(first_ms=1_000, cap_ms=300_000)


class NotTaken(Exception):
    """The other side did not take it. again: whether another try may help; status: what it answered, 0 for nothing."""

    def __init__(self, detail: str, *, again: bool, status: int = 0) -> None:
        super().__init__(detail)
        self.again = again
        self.status = status


def url_problem(url: str) -> str:
    """Why this is no address to send to; empty if it is one. Plain http only on this machine."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - a bad port is told now
    except ValueError as error:
        return str(error)
    if parts.username is not None or not (url.isascii() and url.isprintable()) or " " in url:
        return "must hold no name or password, no spaces and nothing but ASCII"
    if parts.scheme == "https" and parts.hostname:
        return ""
    if parts.scheme == "http" and parts.hostname in LOOPBACK:
        return ""
    return "must be https://…, or http:// on this machine"


def signature_of(secret: bytes, timestamp_s: int, body: bytes) -> str:
    """`sha256=` and HMAC-SHA-256 over timestamp, a dot, and the body, in hex."""
    return "sha256=" + hmac.new(secret, b"%d.%b" % (timestamp_s, body), hashlib.sha256).hexdigest()


async def post(
    hook: Webhook, body: bytes, now_ms: int, *, content_type: str = JSON, timeout_s: float = TIMEOUT_S
) -> None:
    """Sends once and reads the head of the answer, no body; follows no redirects. timeout_s: for all of it, however slowly
    the other side answers. Raises NotTaken.
    """
    parts = urlsplit(hook.url)
    host = parts.hostname or ""
    fields = {
        "Host": parts.netloc,
        "Content-Type": content_type,
        "Content-Length": str(len(body)),
        TIMESTAMP: str(now_ms // 1000),
        SIGNATURE: signature_of(hook.secret, now_ms // 1000, body),
        "Connection": "close",
    }
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    head = "".join((f"POST {target} HTTP/1.1\r\n", *(f"{name}: {value}\r\n" for name, value in fields.items()), "\r\n"))
    try:
        with anyio.fail_after(timeout_s):
            status = await _status(host, parts.port, parts.scheme == "https", head.encode() + body)
    except TimeoutError as error:
        raise NotTaken(f"{host}: no answer within {timeout_s:g} s", again=True) from error
    except OSError as error:
        raise NotTaken(f"{host}: {error.__cause__ or error}", again=True) from error
    except _BROKEN as error:
        raise NotTaken(f"{host}: {type(error).__name__}", again=True) from error
    if not 200 <= status < 300:
        again = status >= 500 or status in TRANSIENT
        raise NotTaken(f"{host} answered {status}", again=again, status=status)


async def _status(host: str, port: int | None, secure: bool, request: bytes) -> int:
    """The status that the other side ends with: what it says on the way (1xx) is passed over."""
    if secure:
        import ssl

        context = ssl.create_default_context()
        stream: ByteStream = await anyio.connect_tcp(
            host, port or 443, ssl_context=context, tls_standard_compatible=False
        )
    else:
        stream = await anyio.connect_tcp(host, port or 80)
    try:
        await stream.send(request)
        reading = BufferedByteReceiveStream(stream)
        for _ in range(MOST_HEADS):
            found = _STATUS.match(await reading.receive_until(b"\r\n\r\n", MOST_HEAD_BYTES))
            if found is None:
                break
            if int(found[1]) >= 200:
                return int(found[1])
        raise OSError("it does not speak HTTP")
    finally:
        await anyio.aclose_forcefully(stream)
