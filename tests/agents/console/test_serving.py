"""The console on a real socket, and the command line that logs in to it."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.to_thread
import msgspec
import pytest

from interlock.agents.cli import run
from interlock.agents.cli.consoling import log_in
from interlock.agents.cli.session import Session
from interlock.agents.console.challenge import read_answer
from interlock.agents.console.serving import serving
from interlock.agents.console.settings import ConsoleSettings
from interlock.agents.errors import UserError
from interlock.agents.workspace.settings import Settings
from interlock.bus.clock import SystemClock
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.streams import declarations
from tests.agents.conftest import InProcess, Keys
from tests.agents.console.conftest import written

pytestmark = pytest.mark.anyio


async def session_of(root: Path, **settings: Any) -> tuple[Session, MemoryTransport]:
    transport = MemoryTransport(SystemClock())
    await transport.declare(declarations(("w",)))
    layout = written(InProcess(transport, "w", Keys("w"), root), root)
    told = Settings(workspace="w", console=ConsoleSettings(**settings))
    return Session(layout.root, "", True, settings=told), transport


def asked(url: str, path: str, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


async def test_it_serves_and_ends_with_its_context(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session, transport = await session_of(tmp_path)
    async with serving(session, transport, port=0) as desk:
        status, body = await anyio.to_thread.run_sync(asked, desk.url, "/login")
        assert (status, b"console login" in body) == (200, True)
        status, _ = await anyio.to_thread.run_sync(lambda: asked(desk.url, "/login", Host="evil.example"))
        assert status == 421
        assert await anyio.to_thread.run_sync(log_in, session, "", desk.url, "human.ada") == 0
        link = msgspec.json.decode(capsys.readouterr().out)["link"]
        answer = read_answer(parse_qs(urlsplit(link).query)["answer"][0])
        assert (answer.agent, answer.origin, answer.workspace) == ("human.ada", desk.url, "w")
        status, body = await anyio.to_thread.run_sync(asked, desk.url, link.removeprefix(desk.url))
        assert b"Log in as human.ada" in body
        url = desk.url
    with pytest.raises(OSError):
        asked(url, "/login")


async def test_an_open_stream_does_not_hold_it_up(tmp_path: Path) -> None:
    session, transport = await session_of(tmp_path)
    async with serving(session, transport, port=0) as desk:
        visit = desk.visits.enter("human.ada", desk.trust.store.agents[0].keys[0].key_id, desk.now_ms)
        key = next(one for one in desk.trust.store.agents if one.agent == "human.ada").keys[0].key_id
        visit.key_id = key
        cookie = f"interlock_visit_{urlsplit(desk.url).port}={visit.id}"
        connection = http.client.HTTPConnection(urlsplit(desk.url).netloc, timeout=10)

        def listen() -> bytes:
            connection.request("GET", "/events?topics=goals", headers={"Cookie": cookie})
            return connection.getresponse().readline()

        assert await anyio.to_thread.run_sync(listen) == b"event: goals\r\n"
        began = time.monotonic()
    assert time.monotonic() - began < 2
    connection.close()


async def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    session, transport = await session_of(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(UserError) as caught:
            async with serving(session, transport, port=other.getsockname()[1]):
                pass
    assert caught.value.reason == "not_bound"


async def test_what_is_open_to_others_needs_tls(tmp_path: Path) -> None:
    session, transport = await session_of(tmp_path, host="0.0.0.0")
    with pytest.raises(UserError) as caught:
        async with serving(session, transport, port=0):
            pass
    assert caught.value.reason == "not_loopback"


@pytest.mark.parametrize(
    ("challenge", "url", "by", "reason"),
    [
        ("", "", "human", "no_console"),
        ("", "http://127.0.0.1:1", "human", "no_console"),
        ("", "ftp://x", "human", "bad_usage"),
        ("", "http://[::1", "human", "bad_usage"),
        ("", "http://127.0.0.1:99999", "human", "no_console"),
        ("x" * 101, "http://127.0.0.1:8470", "human", "bad_usage"),
        ("", "http://127.0.0.1:8470", "executor", "not_human"),
        ("abc", "http://127.0.0.1:8470", "../human", "not_human"),
    ],
    ids=range(8),
)
async def test_logins_that_cannot_be(tmp_path: Path, challenge: str, url: str, by: str, reason: str) -> None:
    session, _ = await session_of(tmp_path)
    with pytest.raises(UserError) as caught:
        log_in(session, challenge, url, by)
    assert caught.value.reason == reason


async def test_another_workspaces_console_is_not_logged_in_to(tmp_path: Path) -> None:
    session, transport = await session_of(tmp_path)
    session.settings = msgspec.structs.replace(session.settings, workspace="w")
    async with serving(session, transport, port=0) as desk:
        other = Session(session.layout.root, "", True, settings=Settings(workspace="other"))
        with pytest.raises(UserError) as caught:
            await anyio.to_thread.run_sync(log_in, other, "", desk.url, "human")
    assert caught.value.reason == "wrong_workspace"


def test_without_a_running_interlock_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["console", "--dir", str(tmp_path)]) == 1
    assert "no_broker" in capsys.readouterr().err
    assert run(["console", "--dir", str(tmp_path), "--as", "executor"]) == 2
    assert "not_human" in capsys.readouterr().err
    for port in ("99999", "-1", "x"):
        assert run(["console", "--dir", str(tmp_path), "--port", port]) == 2
        assert "bad_usage" in capsys.readouterr().err
    assert run(["console", "--help"]) == 0
    assert "login" in capsys.readouterr().out


def test_nothing_of_it_is_loaded_before_it_is_asked_for() -> None:
    code = (
        "import sys, interlock.agents.cli.app, interlock.agents.workspace.settings;"
        "print([name for name in ('starlette', 'uvicorn', 'jinja2', 'sse_starlette') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_its_extra_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['starlette'] = None\n"
        "import anyio\n"
        "from interlock.agents.console.serving import serving\n"
        "from interlock.agents.cli.session import Session\n"
        "from interlock.agents.errors import UserError\n"
        "async def main():\n"
        "    async with serving(Session(None, '', False), None, port=0): pass\n"
        "try: anyio.run(main)\n"
        "except UserError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "interlock[console]" in done.stdout
