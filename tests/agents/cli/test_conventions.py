"""What every verb promises: exit codes, one line of error with reason and mend, no traceback."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from interlock.agents.cli import run
from interlock.agents.cli.app import app
from interlock.agents.cli.goal_file import load_goal
from interlock.agents.errors import UserError
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.settings import load_settings


def verbs(within: App = app, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], App]]:
    """Every command there is, groups of them first."""
    for name in within:
        if not name.startswith("-"):
            yield (*path, name), within[name]
            yield from verbs(within[name], (*path, name))


VERBS = dict(verbs())


def test_the_verbs_of_the_specification_are_there() -> None:
    asked = (
        "init run up agent submit goals status watch trace approvals approve reject halt resume replay console doctor"
    )
    asked_below = (
        "audit bundle, audit verify, dead list, dead show, dead redrive, keys new, keys list, keys rotate, keys revoke"
    )
    assert {(verb,) for verb in asked.split()} | {tuple(verb.split()) for verb in asked_below.split(", ")} <= set(VERBS)


@pytest.mark.parametrize("verb", [verb for verb, sub in VERBS.items() if sub.default_command is not None], ids=" ".join)
def test_every_verb_answers_machines(verb: tuple[str, ...]) -> None:
    """But for `agent`, whose only output are log lines, which are JSON."""
    named = {name for argument in VERBS[verb].assemble_argument_collection() for name in argument.names}
    assert ("--json" in named) == (verb != ("agent",))


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_has_help(verb: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*verb, "--help"]) == 0
    told = capsys.readouterr().out
    assert f"Usage: interlock {' '.join(verb)}" in told
    assert VERBS[verb].help.split(". ")[0][:20] in " ".join(told.split()), "it says what it does"


def test_what_is_wrong_is_said_in_the_words_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    told = {
        ("run",): "`interlock run` wants GOAL (bad_usage). See `interlock run --help`.",
        ("dead", "show"): "`interlock dead show` wants LETTER (bad_usage). See `interlock dead show --help`.",
        ("run", "g", "--out"): "-o wants a value (bad_usage). See `interlock run --help`.",
        (
            "goals",
            "x",
            "y",
        ): "`interlock goals` takes no more arguments: 'x y' is too much (bad_usage). See `interlock goals --help`.",
        ("run", "g", "--approve", "x"): (
            'Invalid value "x" for --approve. Choose from: "ask", "auto", "never" (bad_usage). See `interlock run --help`.'
        ),
    }
    for arguments, line in told.items():
        assert run(list(arguments)) == 2
        assert capsys.readouterr().err == f"interlock: {line}\n"


def test_a_workspace_is_made_for_machines_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "with space"
    assert run(["init", str(place), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["directory"], made["contractVersion"], made["kept"]) == (str(place), 1, [])
    assert all(Path(path).exists() for path in made["written"])
    assert run(["init", str(place)]) == 0
    told = capsys.readouterr().out
    assert f"next: cd '{place}' && interlock run goal.yaml" in told
    assert "written" not in told


BAD_USAGES = [
    (["frob"], 2, "bad_usage"),
    (["run"], 2, "bad_usage"),
    (["run", "goal.yaml", "--bogus"], 2, "bad_usage"),
    (["run", "missing.yaml"], 2, "unreadable"),
    (["run", "broken.yaml"], 2, "bad_yaml"),
    (["run", "list.yaml"], 2, "bad_goal"),
    (["run", "goal.yaml", "--input", "nothing"], 2, "bad_usage"),
    (["run", "goal.yaml", "--input", "path=/no/such/place"], 2, "no_directory"),
    (["run", "goal.yaml", "--dir", "/no/such/place"], 2, "no_directory"),
    (["run", "fifo"], 2, "not_a_file"),
    (["run", "/dev/zero"], 2, "not_a_file"),
    (["run", "skills"], 2, "unreadable"),
    (["run", "latin.yaml"], 2, "bad_yaml"),
    (["run", "huge.yaml"], 2, "too_large"),
    (["run", "loop.yaml"], 2, "unreadable"),
    (["run", "a\nb\x1b.yaml"], 2, "unreadable"),
    (["run", "nul\0.yaml"], 2, "unreadable"),
    (["submit", "fifo"], 2, "not_a_file"),
    (["trace", "x", "--fold", "-1"], 2, "bad_usage"),
    (["goals", "--nats", "nats://127.0.0.1:99999"], 1, "broker_refused"),
    (["goals", "--dir", "goal.yaml"], 2, "no_directory"),
    (["agent", "executor", "--dir"], 2, "bad_usage"),
    (["agent", "executor", "--bogus"], 2, "bad_usage"),
    (["agent", "executor", "--metrics-port", "x"], 2, "neither a port nor `off`"),
    (["agent", "executor", "--metrics-port", "65536"], 2, "bad_usage"),
    (["agent", "executor", "--dir", "/no/such/place"], 2, "no_directory"),
    (["agent", "executor", "--dir=/no/such/place"], 2, "no_directory"),
    (["agent", "executor", "--nats=nats://127.0.0.1:1", "--grant", "/no/such/place"], 2, "no_directory"),
    (["dead", "list", "more"], 2, "bad_usage"),
    (["dead", "list"], 1, "no_trust"),
    (["dead", "show"], 2, "bad_usage"),
    (["dead", "show", "x\x1b"], 2, "bad_usage"),
    (["dead", "show", "-1"], 2, "bad_usage"),
    (["dead", "show", "²"], 2, "bad_usage"),
    (["dead", "redrive"], 2, "bad_usage"),
    (["dead", "redrive", "1", "--all"], 2, "bad_usage"),
    (["dead", "redrive", "1", "--role", "executor"], 2, "bad_usage"),
    (["dead", "redrive", "9" * 30], 2, "bad_usage"),
    (["dead", "redrive", "1", "--as", "No One"], 2, "bad_usage"),
    (["audit", "verify", "fifo"], 1, "not_a_file"),
    (["audit", "verify", "/dev/zero"], 1, "not_a_file"),
    (["audit", "verify", "."], 1, "unreadable"),
    (["init", "goal.yaml"], 1, "not_writable"),
    (["submit", "goal.yaml"], 1, "no_broker"),
    (["submit", "goal.yaml", "--nats", "nats://127.0.0.1:1"], 1, "bus_unavailable"),
    (["goals"], 1, "no_broker"),
    (["agent"], 2, "bad_usage"),
    (["agent", "janitor", "--nats", "nats://127.0.0.1:1"], 2, "unknown_role"),
    (["agent", "executor", "--nats", "nats://127.0.0.1:1"], 1, "no_trust"),
    (["audit", "verify", "missing.gz"], 1, "unreadable"),
    (["audit", "verify", "goal.yaml"], 2, "FAIL"),
]


@pytest.mark.parametrize(("arguments", "code", "reason"), BAD_USAGES, ids=[" ".join(usage[0]) for usage in BAD_USAGES])
def test_bad_usage_is_one_line_with_a_reason(
    arguments: list[str],
    code: int,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "goal.yaml").write_text("goal: x\ninputs: {}\n")
    (tmp_path / "broken.yaml").write_text("a: [\n")
    (tmp_path / "list.yaml").write_text("- a\n")
    (tmp_path / "latin.yaml").write_bytes(b"goal: caf\xe9\n")
    (tmp_path / "huge.yaml").write_bytes(b"#" * (1 << 20) + b"#")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "skills").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "interlock.yaml").write_text("workspace: default\n")
    assert run(arguments) == code
    told = capsys.readouterr()
    assert reason in told.err + told.out
    assert "Traceback" not in told.err + told.out
    if told.err:
        assert re.fullmatch(r"interlock: [^\n]+\n", told.err), told.err


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("workspace: Bad!\n", ":1:12:"),
        ("workspace: default\nbogus: 1\n", "bogus"),
        ("concurrency: 0\n", ":1:14:"),
        ("day_limit:\n  cost_usd: lots\n", ":2:13:"),
        ("workspace: a\nworkspace: b\n", ":2:1:"),
        ("isolation: none\n", ":1:12:"),
        ("kinds:\n  - kind: A\n    skills: [a]\n", ":2:11:"),
        ("kinds:\n  - kind: a\n    skills: [a]\n    per_task: {cost_usd: 1}\n", ":4:26:"),
        ("kinds:\n  - {kind: a, skills: [a]}\n  - {kind: b, skills: ['*']}\n", "a and b overlap"),
        ("kinds:\n  - {kind: a, skills: [a]}\n  - {kind: a, skills: [b]}\n", "each once"),
    ],
)
def test_bad_settings_name_their_place(text: str, where: str, tmp_path: Path) -> None:
    path = tmp_path / "interlock.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_settings(path)
    assert where in str(caught.value)
    assert caught.value.exit_code == 2


def test_inputs_are_resolved_where_they_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "goals" / "repo").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    file = tmp_path / "goals" / "goal.yaml"
    file.write_text("goal: x\ninputs: {path: repo, count: 2}\n")
    monkeypatch.chdir(tmp_path)
    assert json.loads(load_goal(file, []).data)["inputs"]["path"] == str(tmp_path / "goals" / "repo")
    replaced = load_goal(file, ["path=other", "count=010", "flag=true"])
    assert json.loads(replaced.data)["inputs"] == {"path": str(tmp_path / "other"), "count": 10, "flag": True}
    assert replaced.grants == [tmp_path / "other"]


def test_the_workspace_is_found_upwards(tmp_path: Path) -> None:
    (tmp_path / "interlock.yaml").touch()
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert Layout.find(tmp_path / "a" / "b").root == tmp_path


@pytest.mark.process
def test_init_run_trace_bundle_verify_as_a_user_would(tmp_path: Path) -> None:
    def interlock(*arguments: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "interlock.agents", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    interlock("init", ".")
    assert "kept" in interlock("init", "."), "a second init overwrites nothing"
    told = interlock("run", "goal.yaml")
    assert "verdict: released" in told
    assert re.search(r"all signatures verified (\d+)/\1", told)
    goal_id = json.loads(interlock("goals", "--json"))[0]["goalId"]
    assert json.loads(interlock("status", goal_id, "--json"))["status"]["outcome"] == "released"
    trace = interlock("trace", goal_id)
    assert trace.startswith("1 gateway → orchestrator plan intake")
    assert "✗" not in trace
    assert trace.count("✓") == json.loads(interlock("trace", goal_id, "--json"))[0]["number"] + 13
    interlock("audit", "bundle", goal_id, "-o", "bundle.gz")
    assert "valid" in interlock("audit", "verify", "bundle.gz")
    data = bytearray((tmp_path / "bundle.gz").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "bundle.gz").write_bytes(data)
    assert "INVALID" in interlock("audit", "verify", "bundle.gz", code=2)
    assert "nothing missing, changed or inserted" in interlock("audit", "check")
    interlock("audit", "checkpoint", "-o", "witness")
    size = int((tmp_path / "witness").read_text().split("\n")[1])
    assert json.loads(interlock("audit", "check", "--witness", "witness", "--json"))["records"] >= size
    told = json.loads(interlock("audit", "prove", "HOPS:1", "-o", "proof.json", "--json"))
    assert (told["record"]["sequence"], told["record"]["verdict"]) == (1, "ok")
    assert f"valid, one of {size} records" in interlock("audit", "verify", "proof.json")
    changed = json.loads((tmp_path / "proof.json").read_text())
    changed["record"] = changed["record"].replace('"verdict":"ok"', '"verdict":"no"')
    (tmp_path / "changed.json").write_text(json.dumps(changed))
    assert "not_included" in interlock("audit", "verify", "changed.json", code=2)
    interlock("audit", "prove", "--since", "witness", "-o", "since.json")
    assert f"valid, the log of {size} records goes on from that of {size}" in interlock("audit", "verify", "since.json")
    interlock("audit", "prove", "--since", "goal.yaml", code=2)
    interlock("audit", "prove", code=2)
    interlock("audit", "prove", "HOPS:0", code=2)
    interlock("audit", "bundle", "", code=2)
    interlock("audit", "check", "--witness", "/dev/zero", code=2)
    interlock("replay", goal_id, "--to", "trial", code=1)  # nobody could hear it
    interlock("doctor")
    assert (tmp_path / ".interlock" / "keys").stat().st_mode & 0o077 == 0
