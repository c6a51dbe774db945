"""Telling people that they are asked: a webhook with a payload that Slack takes, signed, tried again until it is taken.

The broker remembers what has been told (the consumer `notices`), so that a restart neither forgets nor starts anew.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import anyio.to_thread
import msgspec
from msgspec import Struct

from interlock.bus.authority import judge
from interlock.bus.backoff import Backoff, delay_ms
from interlock.bus.gates import TrustSource
from interlock.bus.streams import notices_of
from interlock.bus.transport import Incoming, Message, Transport
from interlock.envelope.model import Envelope
from interlock.envelope.payloads import ApprovalRequest, Escalation
from interlock.envelope.verification import Limits, check_freshness, check_route, check_signature, decode

log = logging.getLogger("interlock.notify")

SIGNATURE = "Interlock-Signature"
TIMESTAMP = "Interlock-Timestamp"
TIMEOUT_S = 10
LOOPBACK = ("127.0.0.1", "::1", "localhost")
# Another try may help: the other side was busy, asked for patience, or failed.
TRANSIENT = frozenset({408, 425, 429})
SENSITIVE = frozenset({"data:confidential", "data:restricted"})
WITHHELD = "the goal's data is sensitive: `interlock approvals` shows what is asked"


class Webhook(Struct, frozen=True, kw_only=True):
    """Where and how. secret: signs the body; retry: the pauses between tries, of which the broker allows eight."""

    url: str
    secret: bytes
    retry: Backoff = Backoff(first_ms=1_000, cap_ms=300_000)


class NotTaken(Exception):
    """The other side did not take it. again: whether another try may help."""

    def __init__(self, detail: str, *, again: bool) -> None:
        super().__init__(detail)
        self.again = again


def url_problem(url: str) -> str:
    """Why this is no address to send to; empty if it is one. Plain http only on this machine."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - a bad port is told now
    except ValueError as error:
        return str(error)
    if parts.scheme == "https" and parts.hostname:
        return ""
    if parts.scheme == "http" and parts.hostname in LOOPBACK:
        return ""
    return "must be https://…, or http:// on this machine"


def signature_of(secret: bytes, timestamp_s: int, body: bytes) -> str:
    """`sha256=` and HMAC-SHA-256 over timestamp, a dot, and the body, in hex."""
    return "sha256=" + hmac.new(secret, b"%d.%b" % (timestamp_s, body), hashlib.sha256).hexdigest()


def body_of(envelope: Envelope) -> bytes:
    """What is asked. Of a goal whose data is confidential or restricted no more leaves than where to read it."""
    payload = envelope.payload
    sensitive = not SENSITIVE.isdisjoint(envelope.compliance_tags)
    if isinstance(payload, ApprovalRequest):
        title = f"Approval needed: {payload.operation} of {payload.target}"
        lines = [payload.question, *(f"• {ground.message}" for ground in payload.grounds[:10])]
        if sensitive:
            lines = [WITHHELD]
        lines.append(f"until {payload.expires_at}, {payload.needed} needed, digest `{payload.action_digest}`")
        lines.append(f"`interlock approve {payload.approval_id}`")
    else:
        question = payload.question if isinstance(payload, Escalation) else ""
        title = f"A human is asked by {envelope.sender}"
        lines = [WITHHELD if sensitive else question, f"goal {envelope.goal_id}"]
    return slack_body(title, lines)


def slack_body(title: str, lines: Sequence[str]) -> bytes:
    """What Slack's incoming webhooks take: text, and blocks with the same in more detail."""
    text = _plain(title)[:2900]
    detail = _plain("\n".join(lines))[:2900]
    return msgspec.json.encode(
        {
            "text": text,
            "blocks": [
                {"type": "section", "text": {"type": "mrkdwn", "text": f"*{text}*"}},
                {"type": "section", "text": {"type": "mrkdwn", "text": detail}},
            ],
        }
    )


def post(hook: Webhook, body: bytes, now_s: int, timeout_s: float = TIMEOUT_S) -> None:
    """Sends once; follows no redirects. Raises NotTaken."""
    import http.client
    import ssl

    parts = urlsplit(hook.url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    connection = (
        http.client.HTTPSConnection(host, parts.port, timeout=timeout_s, context=ssl.create_default_context())
        if secure
        else http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
    )
    headers = {
        "Content-Type": "application/json",
        TIMESTAMP: str(now_s),
        SIGNATURE: signature_of(hook.secret, now_s, body),
    }
    try:
        connection.request("POST", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), body, headers)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise NotTaken(f"{host}: {error or type(error).__name__}", again=True) from error
    finally:
        connection.close()
    if not 200 <= status < 300:
        raise NotTaken(f"{host} answered {status}", again=status >= 500 or status in TRANSIENT)


async def hand_over(incoming: Incoming, hook: Webhook, body: bytes, name: str, now_ms: int) -> None:
    """Posts once and answers the broker: taken, again later, or never."""
    delivered = incoming.message.delivered
    try:
        await anyio.to_thread.run_sync(post, hook, body, now_ms // 1000, abandon_on_cancel=True)
    except NotTaken as error:
        log.warning("%s, try %s: %s", name, delivered, error)
        if error.again:
            await incoming.retry(delay_ms(hook.retry, delivered, name))
        else:
            await incoming.terminate("webhook_refused")
    else:
        await incoming.ack()


@asynccontextmanager
async def notifying(
    transport: Transport, workspace: str, hook: Webhook, trust: TrustSource, limits: Limits
) -> AsyncIterator[None]:
    """While the context lasts, people are told what is asked of them."""

    async def on_incoming(incoming: Incoming) -> None:
        message = incoming.message
        envelope = _believed(message, trust, limits, transport.clock.now_ms())
        if envelope is None:
            await incoming.ack()  # forged or too late: nobody is to be troubled with it; the auditor has seen it
            return
        await hand_over(incoming, hook, body_of(envelope), f"notice {envelope.id}", transport.clock.now_ms())

    async with transport.consume(notices_of(workspace), on_incoming, concurrency=4):
        yield


def _believed(message: Message, trust: TrustSource, limits: Limits, now_ms: int) -> Envelope | None:
    checked = decode(message.data, limits)
    envelope = checked.envelope
    if not checked.ok or envelope is None:
        return None
    checks = (
        check_signature(envelope, trust.trust, message.stored_ms),
        check_route(envelope, message.subject, "human"),
        check_freshness(envelope, now_ms, limits),
    )
    return envelope if all(check.ok for check in checks) and judge(envelope).allowed else None


def _plain(text: str) -> str:
    """Without what Slack reads as mark-up of its own, and without control characters."""
    shown = "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in text)
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
