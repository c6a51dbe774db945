"""`interlock dead …` against a real broker: what is shown, what the exit codes say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from interlock.agents.cli import run
from interlock.agents.workspace.keys import ensure_keys
from interlock.agents.workspace.layout import Layout
from interlock.bus.deadletters import bury
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.streams import HOPS, declarations
from interlock.bus.transport import Message

pytestmark = [pytest.mark.anyio, pytest.mark.nats]


class Place:
    def __init__(self, directory: Path, url: str, transport: JetStreamTransport, told: Any) -> None:
        self.workspace = directory.name
        self.transport = transport
        self._directory = directory
        self._url = url
        self._told = told

    async def dead(self, *arguments: str) -> tuple[int, str]:
        self._told.readouterr()
        given = ["dead", *arguments, "--dir", str(self._directory), "--nats", self._url]
        code = await anyio.to_thread.run_sync(run, given)
        told = self._told.readouterr()
        assert "\x1b" not in told.out + told.err
        assert "Traceback" not in told.out + told.err
        return code, told.out + told.err


@pytest.fixture
async def place(tmp_path: Path, nats_server: Any, capsys: Any) -> Any:
    directory = tmp_path / f"w{abs(hash(tmp_path)):x}"[:20]
    directory.mkdir()
    (directory / "interlock.yaml").write_text(f"workspace: {directory.name}\n")
    ensure_keys(Layout(directory), directory.name)
    async with JetStreamTransport.connect(nats_server.url, name="cli") as transport:
        await transport.declare(declarations((directory.name,)))
        yield Place(directory, nats_server.url, transport, capsys)


async def test_list_show_and_redrive(place: Place) -> None:
    assert await place.dead("list") == (0, "no dead letters\n")
    assert await place.dead("redrive", "--all") == (0, "0 put back, 0 not\n")
    subject = f"interlock.{place.workspace}.role.executor.01a1fd22-f39d-7fc3-88a8-d2ea2d34d7e1.act"
    ack = await place.transport.publish(subject, b"\x1b[2Jpoison\xff")
    stored = await place.transport.get(HOPS.name, ack.sequence)
    assert stored is not None
    told: dict[str, Any] = {"reason": "malformed", "detail": "no JSON\n\x1b[2J", "now_ms": 1}
    await bury(place.transport, place.workspace, "executor", HOPS.name, stored, **told)
    await place.transport.publish(f"interlock.{place.workspace}.dead.evaluator.expired", b"garbage\x1b")
    code, text = await place.dead("list")
    assert (code, len(text.splitlines())) == (0, 2)
    assert "executor  malformed  goal 01a1fd22" in text
    assert "evaluator  expired  unreadable" in text
    code, text = await place.dead("list", "--json")
    first, second = json.loads(text)
    assert (first["role"], first["readable"], first["redriven"]) == ("executor", True, None)
    assert (second["reason"], second["readable"], second["goalId"]) == ("expired", False, "")
    for arguments, ids in (
        (("--role", "executor"), [first["id"]]),
        (("--reason", "expired"), [second["id"]]),
        (("--role", "executor", "--reason", "expired"), []),
    ):
        code, text = await place.dead("list", "--json", *arguments)
        assert [one["id"] for one in json.loads(text)] == ids
    code, text = await place.dead("show", str(first["id"]))
    assert code == 0
    assert "poison" in text
    code, text = await place.dead("show", str(first["id"]), "--json")
    assert (json.loads(text)["sequence"], json.loads(text)["delivered"]) == (ack.sequence, 1)
    assert (await place.dead("show", str(second["id"])))[0] == 0
    code, text = await place.dead("redrive", "--all", "--json")
    assert code == 2
    assert [one["reason"] for one in json.loads(text)["refused"]] == ["not_redrivable", "unreadable"]
    code, text = await place.dead("redrive", str(second["id"]))
    assert (code, "(unreadable)" in text) == (2, True)


@pytest.mark.parametrize("verb", ["show", "redrive"])
async def test_a_letter_that_is_not_there(place: Place, verb: str) -> None:
    code, text = await place.dead(verb, "999999999999")
    assert (code, "unknown_letter" in text) == (2, True)


async def test_only_a_human_key_puts_back(place: Place) -> None:
    message = Message("s", b"x", sequence=hash(place.workspace) & 0xFFFFFFFF)
    told: dict[str, Any] = {"reason": "expired", "detail": "", "now_ms": 1}
    await bury(place.transport, place.workspace, "executor", HOPS.name, message, **told)
    code, text = await place.dead("redrive", "--all", "--as", "executor")
    assert (code, "not_allowed" in text) == (2, True)
