"""What every verb promises: exit codes, one line of error with reason and mend, no traceback."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from interlock.agents.cli import run
from interlock.agents.cli.goal_file import load_goal
from interlock.agents.errors import UserError
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.settings import load_settings

VERBS = ["init", "run", "up", "agent", "submit", "goals", "status", "watch", "trace", "doctor", "flags"]
VERBS += ["halt", "resume", "halts", "dead", "dead_list", "dead_show", "dead_redrive"]
VERBS += [
    "audit",
    "audit_bundle",
    "audit_verify",
    "audit_purge",
    "policy",
    "policy_check",
    "policy_test",
    "policy_explain",
]
VERBS += ["keys", "keys_new", "keys_list", "keys_rotate", "keys_revoke"]
VERBS += ["approvals", "approve", "reject"]
VERBS += ["blueprint", "blueprint_validate", "blueprint_history", "blueprint_diff"]
VERBS += ["blueprint_watch", "blueprint_apply", "blueprint_drift", "blueprint_reset"]
VERBS += ["contract", "contract_show", "contract_propose", "contract_sign", "contract_history", "contract_verify"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*verb.split("_"), "--help"]) == 0
    assert "Usage" in capsys.readouterr().out


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
    interlock("audit", "prove", "HOPS:0", code=2)
    interlock("audit", "bundle", "", code=2)
    interlock("audit", "check", "--witness", "/dev/zero", code=2)
    interlock("replay", goal_id, "--to", "trial", code=1)  # nobody could hear it
    interlock("doctor")
    assert (tmp_path / ".interlock" / "keys").stat().st_mode & 0o077 == 0
