"""`interlock blueprint validate|history|diff` as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interlock.agents.cli.app import dispatch
from interlock.agents.errors import UserError

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples/03-blueprint/blueprints"
BROKEN = ROOT / "tests/skills/infrastructure/blueprint/broken"
Out = pytest.CaptureFixture[str]


def test_right_blueprints(capsys: Out) -> None:
    assert dispatch(["blueprint", "validate", str(EXAMPLES)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[2].partition(" (")[0] for line in lines] == [
        "todo-backend 1.1.0 is right",
        "todo-frontend 1.1.0 is right",
    ]
    assert dispatch(["blueprint", "validate", str(EXAMPLES), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["valid"], [entry["name"] for entry in answer["blueprints"]]) == (
        True,
        ["todo-backend", "todo-frontend"],
    )


def test_every_problem_is_told_and_counted(capsys: Out) -> None:
    path = BROKEN / "many-at-once.yaml"
    assert dispatch(["blueprint", "validate", str(path)]) == 1
    *problems, count = capsys.readouterr().out.splitlines()
    assert (len(problems), count) == (8, "8 problems in 1 blueprint")
    assert all(line.startswith(f"{path}:") for line in problems)
    assert dispatch(["blueprint", "validate", str(path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["blueprints"][0]["problems"] == problems


def test_two_blueprints_of_one_service_are_no_set(capsys: Out) -> None:
    paths = [str(EXAMPLES / "backend"), str(EXAMPLES / "backend")]
    assert dispatch(["blueprint", "validate", *paths]) == 1
    assert "expected a name of its own" in capsys.readouterr().out


def test_history(capsys: Out) -> None:
    assert dispatch(["blueprint", "history", str(EXAMPLES / "backend")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["1.0.0", "1.1.0", "~", "~"]
    assert "~ spec.scaling.max_replicas: 4 → 6" in lines[2]
    assert dispatch(["blueprint", "history", str(EXAMPLES / "backend"), "--json"]) == 0
    versions = json.loads(capsys.readouterr().out)["versions"]
    assert versions[1]["changes"][1] == {"path": "spec.scaling.max_replicas", "old": 4, "new": 6}


def test_a_change_without_a_new_version_is_a_problem(tmp_path: Path, capsys: Out) -> None:
    (tmp_path / "history").mkdir()
    text = (EXAMPLES / "backend/blueprint.yaml").read_text()
    (tmp_path / "history/v1.1.0.yaml").write_text(text)
    (tmp_path / "blueprint.yaml").write_text(text.replace("max_replicas: 6", "max_replicas: 60"))
    assert dispatch(["blueprint", "history", str(tmp_path)]) == 1
    assert "(spec.scaling.max_replicas); raise version" in capsys.readouterr().out
    assert dispatch(["blueprint", "diff", str(tmp_path)]) == 1
    assert "~ spec.scaling.max_replicas: 6 → 60" in capsys.readouterr().out


def test_diff(capsys: Out) -> None:
    old, new = str(EXAMPLES / "backend/history/v1.0.0.yaml"), str(EXAMPLES / "backend")
    assert dispatch(["blueprint", "diff", old, new]) == 1
    assert capsys.readouterr().out.splitlines()[0] == "todo-backend 1.0.0 → todo-backend 1.1.0: 3 changes"
    assert dispatch(["blueprint", "diff", new, new]) == 0
    capsys.readouterr()
    assert dispatch(["blueprint", "diff", old, new, "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["changes"]) == 3


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["validate", "nowhere"], "unreadable"),
        (["validate", "/dev/null"], "not_a_file"),
        (["validate", str(ROOT / "docs")], "no_blueprint"),
        (["history", str(EXAMPLES)], "many_blueprints"),
        (["history", str(BROKEN / "tab.yaml")], "bad_blueprint"),
        (["diff", str(BROKEN / "tab.yaml"), str(EXAMPLES / "backend")], "bad_blueprint"),
        (["diff", str(EXAMPLES / "backend/history/v1.0.0.yaml")], "no_history"),
    ],
)
def test_what_cannot_be_done_is_one_line(arguments: list[str], reason: str) -> None:
    with pytest.raises(UserError) as caught:
        dispatch(["blueprint", *arguments])
    assert (caught.value.reason, caught.value.exit_code) == (reason, 2)
