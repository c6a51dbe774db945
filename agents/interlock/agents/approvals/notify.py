"""Telling people that they are asked: a webhook with a payload that Slack takes, signed, tried again until it is taken.

The broker remembers what has been told (the consumer `notices`), so that a restart neither forgets nor starts anew.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec

from interlock.agents.posting import NotTaken, Webhook, post
from interlock.bus.authority import judge
from interlock.bus.backoff import delay_ms
from interlock.bus.gates import TrustSource
from interlock.bus.streams import notices_of
from interlock.bus.transport import Incoming, Message, Transport
from interlock.envelope.model import Envelope
from interlock.envelope.payloads import ApprovalRequest, Escalation
from interlock.envelope.verification import Limits, check_freshness, check_route, check_signature, decode

log = logging.getLogger("interlock.notify")

SENSITIVE = frozenset({"data:confidential", "data:restricted"})
WITHHELD = "the goal's data is sensitive: `interlock approvals` shows what is asked"


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


async def hand_over(incoming: Incoming, hook: Webhook, body: bytes, name: str, now_ms: int) -> None:
    """Posts once and answers the broker: taken, again later, or never."""
    delivered = incoming.message.delivered
    try:
        await post(hook, body, now_ms)
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
