"""`interlock blueprint simulate` and `plan` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interlock.agents.cli.entry import run

ROOT = Path(__file__).parents[3]
FRONTEND = ROOT / "examples/03-blueprint/blueprints/frontend"


def ran(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = run([str(argument) for argument in arguments])
    told = capsys.readouterr()
    return code, told.out, told.err


def trace(tmp_path: Path, *levels: tuple[int, int]) -> Path:
    """(minutes, req/s) one after the other."""
    rates = [rate for minutes, rate in levels for _ in range(minutes * 4)]
    path = tmp_path / "load.csv"
    lines = "".join(f"{index * 15},{rate}\n" for index, rate in enumerate(rates))
    path.write_text(f"time_s,offered_rps\n{lines}")
    return path


def test_simulate_tells_what_would_be_done_and_draws_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load, drawn = trace(tmp_path, (5, 50), (10, 350)), tmp_path / "out.svg"
    code, out, err = ran(capsys, "blueprint", "simulate", FRONTEND, "--metrics", load, "-o", drawn)
    assert (code, err) == (0, "")
    assert "+ scale_up 1 -> 2" in out or "+ scale_up 2 -> 3" in out
    assert "above 80 %" in out
    assert "offered load: replicas change what is measured" in out
    assert drawn.read_bytes().startswith(b"<?xml")


def test_simulate_for_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load = trace(tmp_path, (5, 50), (10, 350))
    code, out, _ = ran(capsys, "blueprint", "simulate", FRONTEND / "blueprint.yaml", "--metrics", load, "--json")
    answer = json.loads(out)
    assert code == 0
    assert answer["summary"]["scale_ups"] == sum(entry["kind"] == "scale_up" for entry in answer["decisions"]) > 0
    assert answer["blueprint"]["name"] == "todo-frontend"
    assert all(entry["references"] for entry in answer["decisions"])


def test_plan_shows_the_next_decision_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load = trace(tmp_path, (1, 250))
    code, out, _ = ran(capsys, "blueprint", "plan", FRONTEND, "--metrics", load, "--every", "60")
    assert code == 0
    assert out.startswith("todo-frontend 1.1.0  + scale_up 2 -> 3  allowed by governance\n")
    assert "(spec.scaling.scale_up_threshold)" in out
    assert "score " in out
    code, out, _ = ran(capsys, "blueprint", "plan", FRONTEND, "--metrics", load, "--every", "60", "--json")
    assert json.loads(out)["decision"]["operation"]["operation"] == "scale"


def test_plan_of_a_quiet_service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ran(capsys, "blueprint", "plan", FRONTEND, "--metrics", trace(tmp_path, (2, 130)))
    assert code == 0
    assert "= hold" in out
    assert "between 30 % and 80 %" in out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["blueprint", "simulate", "{blueprint}", "--metrics", "{tmp}/absent.csv"], "unreadable"),
        (["blueprint", "simulate", "{blueprint}", "--metrics", "/dev/zero"], "not_a_file"),
        (["blueprint", "simulate", "{blueprint}", "--metrics", "{tmp}/bad.csv"], "trace_invalid"),
        (["blueprint", "simulate", "{blueprint}", "--metrics", "{tmp}/good.csv", "--every", "0"], "bad_usage"),
        (["blueprint", "plan", "{blueprint}", "--metrics", "{tmp}/good.csv", "--replicas", "-1"], "bad_usage"),
        (["blueprint", "plan", "{blueprint}", "--metrics", "{tmp}/long.csv", "--every", "1"], "trace_invalid"),
        (["blueprint", "plan", "{tmp}/none.yaml", "--metrics", "{tmp}/good.csv"], "unreadable"),
        (["blueprint", "plan", "{all}", "--metrics", "{tmp}/good.csv"], "several_blueprints"),
        (["blueprint", "plan", "{blueprint}", "--every", "x"], "bad_usage"),
        (["blueprint", "plan", "{blueprint}", "--kubeconfig", "{tmp}/absent"], "unreadable"),
    ],
)
def test_one_line_for_what_a_user_can_cause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    (tmp_path / "bad.csv").write_text("time_s,cpu_m\n0,50m\n")
    (tmp_path / "good.csv").write_text("time_s,offered_rps\n0,5\n")
    (tmp_path / "long.csv").write_text("time_s,offered_rps\n0,5\n100000,5\n")
    filled = [part.format(tmp=tmp_path, blueprint=FRONTEND, all=FRONTEND.parent) for part in arguments]
    code, out, err = ran(capsys, *filled)
    assert (code, out) == (2, "")
    assert f"({reason})" in err
    assert err.count("\n") == 1


def test_a_drawing_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load = trace(tmp_path, (1, 50))
    code, _, err = ran(capsys, "blueprint", "simulate", FRONTEND, "--metrics", load, "-o", tmp_path / "no" / "x.svg")
    assert code == 1
    assert "(cannot_write)" in err


@pytest.mark.process
def test_plan_looks_at_a_cluster_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was just started has no metrics, and its Deployment was made without the blueprint's strategy."""
    from interlock.skills.infrastructure.fake_cluster.launching import FakeCluster

    objects = tmp_path / "objects.yaml"
    objects.write_bytes((ROOT / "examples/03-blueprint/cluster.yaml").read_bytes())
    with FakeCluster(tmp_path / "cluster", objects=[objects]) as fake:
        fake.step(30_000)
        code, out, _ = ran(capsys, "blueprint", "plan", FRONTEND, "--kubeconfig", fake.kubeconfig)
        written = [seen for seen in fake.requests() if seen["verb"] not in ("get", "list", "watch")]
    assert code == 0
    assert out.startswith("todo-frontend 1.1.0  ")
    assert "ready_replicas" in out
    assert written == []
