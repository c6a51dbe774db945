"""What stands before every page: whom the browser thinks it talks to, where a form comes from, how much may be sent, and
the headers that let a page do no more than it was written for. An ASGI middleware.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

FORM_BYTES = 512 * 1024
CHALLENGE_PATH = "/login/challenge"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # With no-referrer a browser hides the origin of a form, too, which is what forms are believed by.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
READING = ("GET", "HEAD")


class TooLarge(Exception):
    """More was sent than the page takes."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def origins_of(host: str, port: int, further: Iterable[str]) -> frozenset[str]:
    """Every origin under which the console is what it says it is. Others (a name that an attacker points to 127.0.0.1)
    are refused.
    """
    names = {f"[{host}]" if ":" in host else host}
    if is_loopback(host):
        names |= {"127.0.0.1", "localhost", "[::1]"}
    return frozenset({*(f"http://{name}:{port}" for name in names), *further})


class Guard:
    """origins: as `origins_of` tells; limits: the most bytes a path takes, FORM_BYTES elsewhere."""

    def __init__(self, app: ASGIApp, origins: frozenset[str], limits: dict[str, int]) -> None:
        self._app = app
        self._origins = origins
        self._hosts = frozenset(urlsplit(origin).netloc for origin in origins)
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        status, told = self._objection(scope)
        if status:
            await _refuse(send, status, told)
            return
        limit, taken = self._limits.get(scope["path"], FORM_BYTES), 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:
                raise TooLarge(f"at most {limit} bytes")
            return message

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _with_policy(message.get("headers", ()))}
            await send(message)

        await self._app(scope, counted, headed)

    def _objection(self, scope: Scope) -> tuple[int, str]:
        """(status, why) of a request that goes no further; (0, "") for all others."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1 or hosts[0].decode("latin-1").lower() not in self._hosts:
            return 421, "wrong_host: this console is not known by that name; see console.origins in docs/settings.md"
        if scope["method"] in READING:
            return 0, ""
        if scope["method"] != "POST":
            return 405, "bad_method: GET and POST are all there is"
        sent = [value.decode("latin-1") for name, value in headers if name == b"origin"]
        if len(sent) != 1 or sent[0] not in self._origins or urlsplit(sent[0]).netloc != hosts[0].decode("latin-1"):
            return 403, "wrong_origin: the form does not come from this console"
        length = next((value for name, value in headers if name == b"content-length"), b"0")
        if not length.isdigit() or int(length) > self._limits.get(scope["path"], FORM_BYTES):
            return 413, f"too_large: at most {self._limits.get(scope['path'], FORM_BYTES)} bytes"
        return 0, ""


def _with_policy(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    kept = [(name, value) for name, value in headers if name.decode("latin-1").lower() not in HEADERS]
    named = {name.lower() for name, _ in kept}
    if b"cache-control" not in named:
        kept.append((b"cache-control", b"no-store"))
    return [*kept, *((name.encode(), value.encode()) for name, value in HEADERS.items())]


async def _refuse(send: Send, status: int, told: str) -> None:
    body = f"interlock: {told}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    if status in (413, 421):
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": _with_policy(headers)})
    await send({"type": "http.response.body", "body": body})
