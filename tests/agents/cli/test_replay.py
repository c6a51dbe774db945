"""`interlock replay` as a user meets it: a bundle with no workspace and no broker, exit codes, one line for what is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from interlock.agents.cli.entry import run
from scripts.record_history import INTO
from tests.agents.conftest import HERE

BUNDLE = INTO / "released.json.gz"
SKILLS = HERE / "skills"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_bundle_is_replayed_offline(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["replay", str(BUNDLE), "--skills", str(SKILLS)]) == 0
    assert "decisions equal (17 hops)" in capsys.readouterr().out
    assert run(["replay", str(BUNDLE), "--skills", str(SKILLS), "--live", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["equal"] == told["decisions"] > 30
    assert (told["live"]["run"], told["live"]["perMille"], told["first"]) == (3, 1000, None)


def test_a_skill_that_is_gone_is_the_first_divergence_with_both_sides(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["replay", str(BUNDLE)]) == 2
    told = capsys.readouterr().out
    assert "review: what follows at step verdict, $.payload.decision" in told
    assert 'then "allow"' in told
    assert 'now  "deny"' in told
    assert run(["replay", str(BUNDLE), "--live", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["live"]["run"] == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "bad_usage"),
        ([str(BUNDLE), "--from-sequence", "3"], "bad_usage"),
        ([str(BUNDLE), "--to", "a b"], "bad_usage"),
        ([str(BUNDLE), "--to", "a", "--live"], "bad_usage"),
        ([str(BUNDLE), "--pace", "slow"], "bad_usage"),
        (["--from-time", "yesterday"], "bad_time"),
        (["absent.json.gz"], "unreadable"),
        (["cut.json.gz"], "bad_bundle"),
        ([str(BUNDLE), "--root", "OA" + "A" * 54], "untrusted_root"),
    ],
)
def test_what_cannot_be_replayed_is_one_line_and_exit_2(
    arguments: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(BUNDLE, tmp_path / "cut.json.gz")
    (tmp_path / "cut.json.gz").write_bytes(BUNDLE.read_bytes()[:-5])
    assert run(["replay", *arguments]) == 2
    said = capsys.readouterr().err
    assert f"({reason})" in said
    assert len(said.splitlines()) == 1
