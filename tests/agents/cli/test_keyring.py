"""Keys of a running, secured workspace: rotated under load, revoked, given anew. Real processes, a real broker."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import anyio
import msgspec
import pytest

from interlock.agents.cli import run
from interlock.agents.cli.keyring import list_keys, new_key, revoke_key, rotate_key
from interlock.agents.cli.session import Session, statuses
from interlock.agents.cli.submission import publish_goal, wait_for_audit, wait_for_end
from interlock.agents.errors import UserError
from interlock.agents.presence import Presence, ping_subject
from interlock.agents.supervision.house import House, house
from interlock.agents.workspace.broker import login_of, secure
from interlock.agents.workspace.keys import ensure_keys, key_stamps, load_key, load_trust
from interlock.agents.workspace.layout import Layout
from interlock.bus.errors import LoginRefused, Unavailable
from interlock.bus.jetstream.login import Login
from interlock.bus.jetstream.transport import JetStreamTransport
from scripts.campaigns.lines import SKILLS, goal_of_lines

pytestmark = [pytest.mark.anyio, pytest.mark.process]


def secured(place: Path) -> Session:
    (place / "interlock.yaml").write_text(f"write_roots: ['{place}']\n")
    layout = Layout(place)
    ensure_keys(layout, "default")
    secure(layout)
    return Session(place, "", False)


async def run_goal(place: House, data: bytes) -> tuple[str, list[object]]:
    goal_id = await publish_goal(place.transport, "default", data)
    status = await wait_for_end(place.transport, "default", goal_id, lambda _status, _hops: None)
    audited = await wait_for_audit(place.transport, "default", goal_id)
    assert audited is not None
    return status.outcome, list(audited.refused)


async def presence(place: House, agent: str) -> Presence:
    answer = await place.transport.request(ping_subject("default", agent), b"", timeout_ms=500)
    return msgspec.json.decode(answer.data, type=Presence)


async def test_rotated_under_load_revoked_and_given_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = secured(tmp_path)
    layout = session.layout
    first = load_key(layout, "executor")
    ends: list[tuple[str, list[object]]] = []
    async with house(layout, session.settings, skills=[SKILLS]) as place:

        async def one(name: str) -> None:
            ends.append(await run_goal(place, goal_of_lines(tmp_path, name, 6, behind=0, pause_ms=50)))

        await one("before")
        async with anyio.create_task_group() as group:
            for n in range(3):
                group.start_soon(one, f"g{n}")
            await rotate_key(session, "executor", -1)
            await rotate_key(session, "orchestrator", -1)
            group.start_soon(one, "after")
        assert ends == [("released", [])] * 5
        goals = {status.goal_id for status in await statuses(place.transport, "default")}
        lines = Counter((tmp_path / "lines.txt").read_text().splitlines())
        names = ("before", "g0", "g1", "g2", "after")
        assert lines == Counter(f"{name}-{n}" for name in names for n in range(6)), "an effect was lost or repeated"
        second = load_key(layout, "executor")
        assert first.key_id != second.key_id == (await presence(place, "executor")).key_id
        assert place.supervisor.deaths == dict.fromkeys(place.supervisor.deaths, 0), "a role had to be restarted"

        session.json = True
        capsys.readouterr()
        await revoke_key(session, first.key_id, "stolen")
        told = json.loads(capsys.readouterr().out)
        assert set(told["signed"]) <= goals, "hops of a goal that it cannot have signed"
        assert (told["agent"], told["goodKeysLeft"]) == ("executor", 1)
        assert sum(told["signed"].values()) > 0
        session.json = False
        with pytest.raises(LoginRefused):
            async with JetStreamTransport.connect(place.url, name="thief", login=Login("executor", first)):
                pass
        await revoke_key(session, second.key_id, "stolen too")
        with anyio.fail_after(10), pytest.raises(Unavailable):
            while True:
                await presence(place, "executor")
        await new_key(session, "executor", ())
        with anyio.fail_after(20):
            while True:
                try:
                    assert (await presence(place, "executor")).key_id == load_key(layout, "executor").key_id
                    break
                except Unavailable:
                    continue
        assert await run_goal(place, goal_of_lines(tmp_path, "again", 6, behind=0, pause_ms=50)) == ("released", [])
        assert place.supervisor.deaths["executor"] == 0


def test_a_key_file_that_changed_is_noticed(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    ensure_keys(layout, "default")
    first = key_stamps(layout, "executor")
    assert first == key_stamps(layout, "executor") != key_stamps(layout, "auditor")
    replaced = layout.key("executor").with_suffix(".new")
    replaced.write_bytes(layout.key("executor").read_bytes())
    replaced.chmod(0o600)
    replaced.replace(layout.key("executor"))
    second = key_stamps(layout, "executor")
    assert second != first
    assert key_stamps(layout, "executor.two") == second, "an instance without a key of its own has its role's"
    layout.key("executor").rename(layout.key("executor.two"))
    assert key_stamps(layout, "executor.two") != second
    assert key_stamps(layout, "executor") == ()


async def test_without_a_running_house(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = secured(tmp_path)
    layout = session.layout
    admin = load_key(layout, "admin").key_id
    await new_key(session, "human.ada", ["approve:deploy"])
    await rotate_key(session, "gateway", 0)
    await rotate_key(session, "admin", -1)
    trust = load_trust(layout)
    assert trust.version == 4
    record = next(record for record in trust.store.agents if record.agent == "human.ada")
    assert record.capabilities == ["approve:deploy"]
    login = login_of(layout, "human.ada")
    assert login is not None
    assert login.user == "human.ada"
    users = layout.users.read_text()
    assert load_key(layout, "human.ada").key_id in users
    assert admin not in users
    assert users.count("# gateway") == 1, "a key whose time is over is no user"
    capsys.readouterr()
    session.json = True
    assert list_keys(session) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["state"] for one in listed if one["agent"] == "gateway"] == ["ended", "good"]


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["rotate", "janitor"], 2, "unknown_role"),
        (["new", "executor"], 2, "already_enrolled"),
        (["rotate", "human.nobody"], 2, "not_enrolled"),
        (["revoke", "UNKNOWN", "--why", "x"], 2, "unknown_key"),
        (["revoke", "UNKNOWN", "--why", " "], 2, "bad_usage"),
        (["revoke", "UNKNOWN"], 2, "bad_usage"),
        (["new", "admin"], 2, "unknown_role"),
    ],
)
def test_what_is_refused(
    arguments: list[str], code: int, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secured(tmp_path)
    assert run(["keys", *arguments, "--dir", str(tmp_path)]) == code
    assert reason in capsys.readouterr().err


async def test_an_open_workspace_has_no_admin_and_no_root_means_no_change(tmp_path: Path) -> None:
    ensure_keys(Layout(tmp_path), "default")
    session = Session(tmp_path, "", False)
    with pytest.raises(UserError, match="no admin"):
        await rotate_key(session, "admin", -1)
    (session.layout.key("root")).unlink()
    with pytest.raises(UserError, match="no root"):
        await rotate_key(session, "executor", -1)
    assert load_trust(session.layout).version == 1
