"""How a house starts, is interrupted, and survives its broker: told at once, nobody left behind, no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from interlock.agents.cli import run
from interlock.agents.cli.submission import publish_goal, wait_for_end
from interlock.agents.errors import UserError
from interlock.agents.supervision.house import house
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.settings import load_settings
from scripts.campaigns.lines import SKILLS, goal_of_lines
from tests.agents.supervision.test_house import alive, descendants, wait_for

pytestmark = [pytest.mark.process]
Break = Callable[[Path], object]


def broken_skill(root: Path) -> None:
    (root / "skills" / "greeting-people" / "SKILL.md").write_text("no front matter\n")


BREAKS: list[tuple[str, Break, str]] = [
    ("a lost key", lambda root: (root / ".interlock/keys/executor.nk").unlink(), "no_key"),
    ("a broken key", lambda root: (root / ".interlock/keys/evaluator.nk").write_bytes(b"\xff" * 58), "bad_key"),
    ("a broken skill", broken_skill, "bad_skill"),
    ("a broken playbook", lambda root: (root / "books" / "x.yaml").write_text("id: [\n"), "x.yaml:2:1"),
]


@pytest.mark.parametrize(("breaks", "told"), [case[1:] for case in BREAKS], ids=[case[0] for case in BREAKS])
def test_a_role_that_cannot_start_says_why_at_once(
    breaks: Break, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["init", "."]) == 0
    (tmp_path / "books").mkdir()
    (tmp_path / "interlock.yaml").write_text("skills: [skills]\nplaybooks: [books]\n")
    breaks(tmp_path)
    began = time.monotonic()
    assert run(["run", "goal.yaml"]) == 2
    assert time.monotonic() - began < 15, "it waited for what could not come"
    lines = capfd.readouterr().err.splitlines()
    assert told in lines[-1]
    assert lines[-1].startswith("interlock: ")
    assert "Traceback" not in "".join(lines)
    assert not (tmp_path / ".interlock" / "run" / "server.json").exists()


@pytest.mark.parametrize("name", ["skills", "playbooks", "input_roots", "write_roots"])
def test_directories_that_are_none_are_refused_with_their_place(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run(["init", "."])
    (tmp_path / "interlock.yaml").write_text(f"workspace: default\n{name}: [skills, nope]\n")
    capsys.readouterr()
    assert run(["run", "goal.yaml"]) == 2
    assert f"interlock.yaml:2:{len(name) + 12}: {name}: " in capsys.readouterr().err
    assert run(["agent", "executor", "--nats", "nats://127.0.0.1:1"]) == 2
    assert "no_directory" in capsys.readouterr().err


@pytest.mark.anyio
async def test_a_broker_that_is_killed_comes_back_and_the_goal_ends(tmp_path: Path) -> None:
    (tmp_path / "interlock.yaml").write_text(f"write_roots: ['{tmp_path}']\n")
    settings = load_settings(tmp_path / "interlock.yaml")
    async with house(Layout(tmp_path), settings, skills=[SKILLS]) as place:
        goal_id = await publish_goal(place.transport, "default", goal_of_lines(tmp_path, "x", 6, pause_ms=200))
        with anyio.fail_after(20):
            while not (tmp_path / "lines.txt").exists():
                await anyio.sleep(0.005)
        [server] = [pid for pid in descendants(os.getpid()) if name_of(pid) == "nats-server" and owns(pid, tmp_path)]
        os.kill(server, signal.SIGKILL)
        status = await wait_for_end(place.transport, "default", goal_id, lambda _status, _hops: None)
        assert status.outcome == "released", status.grounds
    assert sorted((tmp_path / "lines.txt").read_text().split()) == [f"x-{n}" for n in range(6)]


@pytest.mark.anyio
async def test_a_broker_that_dies_again_and_again_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="broker_died"):
        async with house(Layout(tmp_path), load_settings(tmp_path / "none"), agents=()):
            with anyio.fail_after(60):
                while True:
                    for pid in descendants(os.getpid()):
                        if name_of(pid) == "nats-server" and owns(pid, tmp_path):
                            os.kill(pid, signal.SIGKILL)
                    await anyio.sleep(0.05)


ENDINGS = [
    (["run", "goal.json"], signal.SIGINT, 130),
    (["run", "goal.json"], signal.SIGTERM, 143),
    (["run", "goal.json", "&"], signal.SIGTERM, 143),
    (["up"], signal.SIGINT, 0),
    (["up"], signal.SIGTERM, 0),
]


@pytest.mark.parametrize(
    ("arguments", "number", "code"), ENDINGS, ids=[f"{c[0][0]}{c[0][2:]} {c[1].name}" for c in ENDINGS]
)
def test_what_is_interrupted_leaves_nobody_behind(
    arguments: list[str], number: signal.Signals, code: int, tmp_path: Path
) -> None:
    (tmp_path / "goal.json").write_bytes(goal_of_lines(tmp_path, "x", 4, pause_ms=3_000))
    (tmp_path / "interlock.yaml").write_text(f"write_roots: ['{tmp_path}']\nskills: ['{SKILLS}']\n")
    command = [sys.executable, "-m", "interlock.agents"]
    children: list[subprocess.Popen[bytes]] = []

    def start(*verb: str, interrupt: signal.Handlers = signal.SIG_DFL) -> None:
        """As from a terminal, whatever these tests were started from; with & a shell has SIGINT ignored."""
        children.append(
            subprocess.Popen(
                [*command, *verb],
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                preexec_fn=lambda: signal.signal(signal.SIGINT, interrupt),
            )
        )

    in_background = arguments[-1] == "&"
    arguments = arguments[:-1] if in_background else arguments
    start(*arguments, interrupt=signal.SIG_IGN if in_background else signal.SIG_DFL)
    try:
        first = children[0]
        output = first.stdout
        assert output is not None
        awaited = b"is up" if arguments == ["up"] else b"accepted"
        wait_for(lambda: awaited in output.readline(), 30)
        family = descendants(first.pid)
        if arguments == ["up"]:
            start("submit", "goal.json", "--wait")
            start("submit", "goal.json", "--wait", "--json")
            wait_for(lambda: len(list((tmp_path / ".interlock" / "run").glob("server.json"))) == 1, 10)
            listed = subprocess.run([*command, "goals", "--json"], cwd=tmp_path, capture_output=True, timeout=30)
            assert listed.returncode == 0, listed.stderr
            time_limit = time.monotonic() + 30
            while listed.stdout.count(b"goalId") < 2 and time.monotonic() < time_limit:
                listed = subprocess.run([*command, "goals", "--json"], cwd=tmp_path, capture_output=True, timeout=30)
        for child in reversed(children):
            child.send_signal(number)
            told = child.communicate(timeout=20)[1]
            wanted = code if child is first else 130 if number == signal.SIGINT else 143
            assert child.returncode == wanted, told
            assert b"Traceback" not in told, told.decode()
    finally:
        for child in children:
            child.kill()
            child.communicate()
    wait_for(lambda: not any(alive(pid) for pid in family), 10)
    assert not (tmp_path / ".interlock" / "run" / "server.json").exists()


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def owns(pid: int, root: Path) -> bool:
    try:
        return str(root).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
