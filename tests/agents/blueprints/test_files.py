"""What people write for the loop: goal files with `drive`, worlds, kubeconfigs; every mistake is one line with its mend."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from interlock.agents.blueprints.access import put_access
from interlock.agents.blueprints.drive_file import drive_of
from interlock.agents.blueprints.resetting import Resets
from interlock.agents.blueprints.world import running_world
from interlock.agents.cli import blueprint_watching, run
from interlock.agents.errors import UserError
from interlock.agents.workspace.keys import load_trust
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.settings import read_yaml
from interlock.bus.clock import SystemClock
from interlock.skills.errors import SkillsError

EXAMPLE = Path(__file__).parents[3] / "examples/03-blueprint"


def test_the_example_drives() -> None:
    path = EXAMPLE / "goal.yaml"
    drive = drive_of(path, read_yaml(path)[0])
    assert drive is not None
    assert (drive.last_ms, drive.every_ms, drive.world.is_file()) == (3_600_000, 30_000, True)


def test_a_goal_without_drive_is_a_goal() -> None:
    assert drive_of(Path("goal.yaml"), {"goal": "x"}) is None
    assert drive_of(Path("goal.yaml"), ["drive"]) is None


@pytest.mark.parametrize(
    ("drive", "told"),
    [
        ("fast", "drive is a mapping"),
        ({"blueprints": "b"}, "drive is a mapping"),
        ({"blueprints": "b", "world": "w", "speed": 2}, "drive is a mapping"),
        ({"blueprints": "b", "world": "w", "last": "1 h"}, "Write `1h`"),
        ({"blueprints": "b", "world": "w", "every": "0s"}, "every is at least 1s"),
        ({"blueprints": "b", "world": "w", "last": "10s", "every": "15s"}, "at most last"),
    ],
)
def test_a_drive_that_is_wrong(drive: Any, told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        drive_of(Path("goal.yaml"), {"drive": drive})
    assert caught.value.exit_code == 2


WORLD: dict[str, Any] = {"start": "2026-02-10T15:00:00.000Z", "objects": "cluster.yaml", "services": []}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"start": "yesterday"}, "bad_world"),
        ({"colour": 1}, "unknown field `colour`"),
        ({"events": [{"at": "5 m", "why": "w"}]}, "write `5m`"),
        ({"events": [{"at": "5m", "why": "w", "node_cpu": "2 cores"}]}, "write `2`"),
        ({"services": [{"namespace": "a", "name": "b", "trace": "nowhere.csv"}]}, "unreadable"),
    ],
)
def test_a_world_that_is_wrong(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    (tmp_path / "world.yaml").write_text(json.dumps(WORLD | change))
    with pytest.raises((UserError, SkillsError), match=told), running_world(tmp_path / "world.yaml", tmp_path):
        raise AssertionError("it began")


def kubeconfig(place: Path, user: dict[str, Any], cluster: dict[str, Any] | None = None) -> Path:
    config = {
        "current-context": "one",
        "contexts": [
            {"name": "other", "context": {"cluster": "x", "user": "y"}},
            {"name": "one", "context": {"cluster": "c", "user": "u", "namespace": "todo"}},
        ],
        "clusters": [{"name": "c", "cluster": {"server": "https://c"} | (cluster or {})}],
        "users": [{"name": "u", "user": user}, {"name": "y", "user": {"token": "another's"}}],
    }
    (place / "config").write_text(json.dumps(config))
    return place / "config"


def test_access_is_one_context_with_everything_in_it(tmp_path: Path) -> None:
    for name in ("ca.crt", "me.crt", "me.key"):
        (tmp_path / name).write_text(name)
    user = {"client-certificate": "me.crt", "client-key": "me.key"}
    path = put_access(kubeconfig(tmp_path, user, {"certificate-authority": "ca.crt"}), tmp_path / "access")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = json.loads(path.read_text())
    assert [entry["name"] for entry in found["contexts"]] == ["one"]
    assert found["users"] == [
        {
            "name": "u",
            "user": {
                "client-certificate-data": base64.b64encode(b"me.crt").decode(),
                "client-key-data": base64.b64encode(b"me.key").decode(),
            },
        }
    ]
    assert base64.b64decode(found["clusters"][0]["cluster"]["certificate-authority-data"]) == b"ca.crt"
    assert "another's" not in path.read_text()


def test_a_token_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    path = put_access(kubeconfig(tmp_path, {"tokenFile": "token"}), tmp_path / "access")
    assert json.loads(path.read_text())["users"][0]["user"] == {"token": "secret"}


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        ({"exec": {"command": "aws"}}, "kubeconfig_exec"),
        ({"auth-provider": {}}, "kubeconfig_exec"),
        ({"tokenFile": "no"}, "unreadable"),
    ],
)
def test_access_that_a_skill_could_not_use(tmp_path: Path, user: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError) as caught:
        put_access(kubeconfig(tmp_path, user), tmp_path / "access")
    assert (caught.value.reason, caught.value.exit_code) == (reason, 2)


@pytest.mark.parametrize(
    "text", ["[]", "{}", "{current-context: one}", "{current-context: one, contexts: [], clusters: [], users: []}"]
)
def test_what_is_no_kubeconfig(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(UserError) as caught:
        put_access(tmp_path / "config", tmp_path / "access")
    assert caught.value.reason == "bad_kubeconfig"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["drift", str(EXAMPLE / "blueprints"), "--kubeconfig", "nowhere"], "unreadable"),
        (["apply", str(EXAMPLE / "blueprints"), "--kubeconfig", "nowhere"], "unreadable"),
        (["watch", str(EXAMPLE / "blueprints"), "--every", "90"], "bad_usage"),
        (["watch", "nowhere", "--shadow"], "unreadable"),
        (["reset", str(EXAMPLE / "blueprints")], "many_blueprints"),
        (["reset", str(EXAMPLE / "blueprints/backend")], "never_watched"),
    ],
)
def test_verbs_that_cannot_be_done_say_why(
    arguments: list[str],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["blueprint", *arguments]) == 2
    assert f"({reason})" in capsys.readouterr().err


def test_every_mode_remembers_for_itself(tmp_path: Path) -> None:
    assert len(set(blueprint_watching._KEPT.values())) == len(blueprint_watching._KEPT) == 3
    for name in ("web.json", "_fleet.json", "lock"):
        (tmp_path / name).write_text("{}")
    blueprint_watching.forget(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["lock"]


def test_a_reset_is_signed_and_left_for_the_watcher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["init"]) == 0
    layout = Layout(tmp_path)
    backend = str(EXAMPLE / "blueprints/backend")
    place = tmp_path / ".interlock/blueprints/state"
    place.mkdir(parents=True)
    for by in ("executor", "ada", "human.ada/x"):
        assert run(["blueprint", "reset", backend, "--as", by]) == 2
    assert "(not_human)" in capsys.readouterr().err
    assert list(place.iterdir()) == []
    assert run(["blueprint", "reset", backend, "--why", "the node is back", "--as", "human"]) == 0
    (file,) = place.iterdir()
    assert file.name == "todo-backend.reset"
    order, checked = Resets(lambda: load_trust(layout), SystemClock()).judge(file.read_bytes(), "todo-backend", 0)
    assert checked.ok and order is not None and order.why == "the node is back"
