"""`interlock doctor` finds what is wrong, whatever it is, and says how to mend it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from interlock.agents.cli import run
from interlock.agents.workspace.layout import Layout, Running, process_began

Break = Callable[[Path], object]


def settings(text: str) -> Break:
    return lambda root: (root / "interlock.yaml").write_text(text)


def swapped_keys(root: Path) -> None:
    keys = root / ".interlock" / "keys"
    (keys / "executor.nk").write_bytes((keys / "auditor.nk").read_bytes())


def lost_trust(root: Path) -> None:
    (root / ".interlock" / "store").mkdir()
    (root / ".interlock" / "trust.json").unlink()


def hook(name: str, url: str = "https://h.example/") -> Break:
    return settings(f"{name}: {{{'witness' if name == 'audit' else 'webhook'}: {{url: '{url}', secret_file: s}}}}\n")


BREAKS: list[tuple[str, Break, str, str]] = [
    ("bad settings", settings("concurrency: 0\n"), "settings", ":1:14:"),
    ("no yaml", settings("a: [\n"), "settings", ":2:1:"),
    ("no skills", settings("skills: [skills, nope]\n"), "settings", ":1:18: skills: "),
    ("no playbooks", settings("playbooks:\n  - nope\n"), "settings", ":2:5: playbooks: "),
    ("no input root", settings("input_roots: [nope]\n"), "settings", ":1:15: input_roots: "),
    ("no write root", settings("write_roots: [goal.yaml]\n"), "settings", "goal.yaml is no directory"),
    ("a webhook without its secret", hook("approvals"), "approvals.webhook", "no_secret"),
    ("a witness over plain http", hook("audit", "http://h.example/"), "audit.witness", "bad_webhook"),
    ("a broken skill", lambda root: (root / "skills/greeting-people/SKILL.md").write_text("x"), "skills", "bad_skill"),
    ("another's key", swapped_keys, "keys", "key_not_for_agent"),
    ("no key", lambda root: (root / ".interlock/keys/executor.nk").unlink(), "keys", "no_key"),
    ("a broken key", lambda root: (root / ".interlock/keys/executor.nk").write_bytes(b"\xff\xfe"), "keys", "bad_key"),
    ("an exposed key", lambda root: (root / ".interlock/keys/executor.nk").chmod(0o644), "keys", "key_exposed"),
    ("broken trust", lambda root: (root / ".interlock/trust.json").write_bytes(b"\xff{"), "keys", "malformed"),
    ("lost trust", lost_trust, "keys", "is gone, but goals ran here"),
    ("broken roots", lambda root: (root / ".interlock/roots.json").write_text("{}"), "keys", "no_roots"),
    ("lost roots", lambda root: (root / ".interlock/roots.json").unlink(), "keys", "no_roots"),
]


@pytest.mark.parametrize(("breaks", "name", "told"), [case[1:] for case in BREAKS], ids=[case[0] for case in BREAKS])
def test_doctor_finds_it(
    breaks: Break,
    name: str,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["init", "."]) == 0
    capsys.readouterr()
    assert run(["doctor"]) == 0, "all is well before"
    breaks(tmp_path)
    capsys.readouterr()
    assert run(["doctor", "--json"]) == 1
    failed = [finding for finding in json.loads(capsys.readouterr().out) if finding["state"] == "fail"]
    assert [finding["name"] for finding in failed] == [name]
    text = f"{failed[0]['detail']} {failed[0]['mend']}"
    assert told in text
    assert failed[0]["mend"] or "Restore" in text or "chmod" in text


def test_doctor_examines_the_rest_without_readable_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run(["init", "."])
    (tmp_path / "interlock.yaml").write_text("bogus: 1\n")
    (tmp_path / ".interlock" / "keys" / "executor.nk").unlink()
    capsys.readouterr()
    assert run(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("fail")] == ["settings:", "keys:"]


def test_a_process_id_that_was_given_to_another_is_not_believed(tmp_path: Path) -> None:
    """run/server.json of a run that was killed; its number is now that of a process which has nothing to do with it."""
    layout = Layout(tmp_path)
    layout.run.mkdir(parents=True)
    mine = Running("nats://127.0.0.1:4222", os.getpid())
    for began in ("", "another boot 1"):
        layout.server.write_bytes(msgspec.json.encode(msgspec.structs.replace(mine, began=began)))
        assert layout.running() is None
    genuine = msgspec.structs.replace(mine, began=process_began(os.getpid()))
    layout.server.write_bytes(msgspec.json.encode(genuine))
    assert layout.running() == genuine
    for garbage in (b"", b"{}", b"\xff", b'{"url":"x","pid":99999999999999999999}', b'{"url":"x","pid":-1}'):
        layout.server.write_bytes(garbage)
        assert layout.running() is None
