"""Notices: signed, taken by what stands for Slack, tried again while that may help, never for what nobody signed."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from interlock.agents.errors import UserError
from interlock.agents.posting import Webhook
from interlock.agents.wiring import running
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.settings import Approvals, AuditSettings, Settings, WebhookSettings
from interlock.agents.workspace.webhook import webhook_of, witness_of
from interlock.bus.backoff import Backoff
from tests.agents.approvals.humans import asked

pytestmark = pytest.mark.anyio
SECRET = b"a secret of some length"
RISKY = {"risk_hints": {"employment_decisions": True, "human_oversight": True, "transparency": True}}


class Receiver:
    """A server on loopback that answers as told, one status after the other, the last for ever."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.got: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((dict(self.headers), body))
                self.send_response(receiver.status_of(body))
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def status_of(self, body: bytes) -> int:
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]

    @property
    def hook(self) -> Webhook:
        url = f"http://127.0.0.1:{self.server.server_port}/hook?x=1"
        return Webhook(url=url, secret=SECRET, retry=Backoff(first_ms=10, cap_ms=20))

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def receivers() -> Iterator[list[Receiver]]:
    made: list[Receiver] = []
    yield made
    for receiver in made:
        receiver.stop()


@asynccontextmanager
async def asking(house: Any, receiver: Receiver) -> AsyncIterator[str]:
    """A goal that waits; its id."""
    async with AsyncExitStack() as stack:
        for role in ("gateway", "orchestrator", "evaluator"):
            await stack.enter_async_context(running(role, house.parts(role, webhook=receiver.hook)))
        goal = house.goal([{"id": "a", "skill": "doing-nothing"}], goal="<!channel> & co", **RISKY)
        yield (await house.submit(goal))["goalId"]


async def until(condition: Any) -> None:
    with anyio.fail_after(10):
        while not condition():
            await anyio.sleep(0.005)


async def test_a_notice_is_signed_and_tried_again_until_it_is_taken(
    quiet_house: Any, receivers: list[Receiver]
) -> None:
    receivers.append(Receiver(503, 429, 200))
    async with asking(quiet_house, receivers[0]) as goal_id:
        pending = await asked(quiet_house, goal_id)
        await until(lambda: len(receivers[0].got) == 3)
        headers, body = receivers[0].got[-1]
        stamp = headers["Interlock-Timestamp"].encode()
        mine = hmac.new(SECRET, stamp + b"." + body, hashlib.sha256).hexdigest()
        assert headers["Interlock-Signature"] == f"sha256={mine}"
        told = msgspec.json.decode(body)
        assert told["text"] == f"Approval needed: plan.start of {goal_id}"
        assert f"interlock approve {pending.approval_id}" in told["blocks"][1]["text"]["text"]
        assert pending.action_digest in told["blocks"][1]["text"]["text"]


async def test_what_nobody_trusted_signed_troubles_nobody(quiet_house: Any, receivers: list[Receiver]) -> None:
    receivers.append(Receiver(200))
    async with asking(quiet_house, receivers[0]) as goal_id:
        await until(lambda: len(receivers[0].got) == 1)
        (request,) = await quiet_house.messages("HOPS", "role", "human", goal_id, "escalate")
        forged = request.data.replace(b"plan.start", b"plan.stop_")
        for number, data in enumerate((b"garbage", forged)):
            await quiet_house.transport.publish(request.subject, data, message_id=f"forged{number}")
        again = (await quiet_house.submit(quiet_house.goal([{"id": "a", "skill": "doing-nothing"}], **RISKY)))["goalId"]
        await until(lambda: any(again.encode() in body for _, body in receivers[0].got))
        assert len(receivers[0].got) == 2


def test_the_secret_is_a_private_file_with_something_in_it(tmp_path: Path) -> None:
    def read(url: str = "https://x.example/") -> Webhook | None:
        hook = WebhookSettings(url=url, secret_file="secret")
        return webhook_of(Layout(tmp_path), Settings(approvals=Approvals(webhook=hook)))

    assert webhook_of(Layout(tmp_path), Settings()) is None
    reasons = []
    for text, mode, url in (("", 0, "http://x"), (None, 0, ""), ("s" * 32, 0o644, ""), ("short", 0o600, "")):
        if text is not None:
            (tmp_path / "secret").write_text(text)
            (tmp_path / "secret").chmod(mode or 0o600)
        else:
            (tmp_path / "secret").unlink()
        with pytest.raises(UserError) as refused:
            read(url or "https://x.example/")
        reasons.append(refused.value.reason)
    assert reasons == ["bad_webhook", "no_secret", "key_exposed", "weak_secret"]
    (tmp_path / "secret").write_bytes(SECRET + b"\n")
    (tmp_path / "secret").chmod(0o600)
    hook = read()
    assert hook is not None
    assert hook.secret == SECRET


def test_the_witness_is_read_like_the_webhook_and_named_when_it_would_not_do(tmp_path: Path) -> None:
    def read(url: str) -> Webhook | None:
        audit = AuditSettings(witness=WebhookSettings(url=url, secret_file="secret"))
        return witness_of(Layout(tmp_path), Settings(audit=audit))

    assert witness_of(Layout(tmp_path), Settings()) is None
    with pytest.raises(UserError, match=r"audit\.witness\.url must be https"):
        read("http://witness.example/")
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "secret").chmod(0o600)
    hook = read("https://witness.example/")
    assert hook is not None and hook.secret == SECRET


async def test_a_notice_of_sensitive_data_says_only_where_to_read_it(
    quiet_house: Any, receivers: list[Receiver]
) -> None:
    receivers.append(Receiver(200))
    async with AsyncExitStack() as stack:
        for role in ("gateway", "orchestrator", "evaluator"):
            await stack.enter_async_context(running(role, quiet_house.parts(role, webhook=receivers[0].hook)))
        secret = {"data_classification": "confidential"} | RISKY
        goal = quiet_house.goal([{"id": "a", "skill": "doing-nothing"}], **secret)
        pending = await asked(quiet_house, (await quiet_house.submit(goal))["goalId"])
        await until(lambda: len(receivers[0].got) == 1)
    said = msgspec.json.decode(receivers[0].got[0][1])["blocks"][1]["text"]["text"]
    assert pending.grounds and not any(ground.message in said for ground in pending.grounds)
    assert f"interlock approve {pending.approval_id}" in said
