"""The examples as their readers run them, and the first playbook on source trees of every shape."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from interlock.envelope.keys import from_base64url, is_signed_by
from interlock.envelope.signing import DELIVERABLE_DOMAIN, pre_auth
from interlock.skills.deliverable import check_bundle

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]
GOAL = ROOT / "examples" / "01-release-readiness" / "goal.yaml"
DELIVERABLES = {
    "context_map.md", "flow_matrix.json", "scoped_prompt.md", "validation_rules.yaml", "model_card.yaml", "risk_assessment.json",
    "audit_report.md", "compliance_log.json", "sbom.spdx.json", "sbom.cdx.json", "deployment_manifest.yaml", "monitoring_config.yaml",
    "runbook.md", "cost_analysis.json", "knowledge_pack.md", "provenance.intoto.jsonl",
}  # fmt: skip


def run(place: Path, goal: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "interlock.agents", "run", str(goal), "--json", *arguments]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=150, stdin=subprocess.DEVNULL)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_own_tasks_fan_out_and_join(tmp_path: Path) -> None:
    code, told = run(tmp_path, ROOT / "examples" / "02-own-tasks" / "goal.yaml")
    assert (code, told["status"]["outcome"], told["status"]["tasksDone"]) == (0, "released", 52)
    assert told["audit"]["hops"] == told["audit"]["verified"] == 164
    folder = ROOT / "examples" / "02-own-tasks" / "skills"
    assert (
        sum(len(path.read_text().splitlines()) for path in folder.rglob("*.*") if "__pycache__" not in path.parts) < 40
    )


def test_two_agents_in_one_process() -> None:
    script = ROOT / "examples" / "04-two-agents" / "two_agents.py"

    def told(*arguments: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, script, *arguments], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
        )
        return done.returncode, done.stdout, done.stderr

    code, out, err = told("300")
    assert (code, err) == (0, "")
    assert out.startswith("300 of 300 hops signed, verified and handled, ")
    for bad in ("0", "-1", "many"):
        code, out, err = told(bad)
        assert (code, out) == (2, "")
        assert "Traceback" not in err


def test_the_deliverable_of_the_first_playbook(tmp_path: Path) -> None:
    code, told = run(tmp_path, GOAL)
    assert code == 0, told["status"]["grounds"]
    assert told["audit"]["hops"] == told["audit"]["verified"]
    path = tmp_path / told["deliverable"]
    assert (
        check_bundle(
            path, lambda key, data, text: is_signed_by(key, pre_auth(DELIVERABLE_DOMAIN, data), from_base64url(text))
        )
        == []
    )
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert set(members) == DELIVERABLES | {"manifest.json", "manifest.sig.json"}
    schemas = ROOT / "skills" / "interlock" / "skills" / "bundled" / "assembling-deliverable" / "schemas"
    checked = 0
    for name, data in members.items():
        assert data.strip(), name
        if name.endswith(".json"):
            value: Any = json.loads(data)
        elif name.endswith(".yaml"):
            documents = list(yaml.safe_load_all(data))
            value = documents[0] if len(documents) == 1 else documents
        else:
            continue
        schema = next(iter(schemas.glob(f"{name.rsplit('.', 1)[0]}*.json")), None)
        if schema is not None:
            jsonschema.Draft202012Validator(json.loads(schema.read_text())).validate(value)
            checked += 1
    assert checked >= 7
    assert len(members["provenance.intoto.jsonl"].splitlines()) == 13


def tiny(place: Path) -> None:
    (place / "main.py").write_text("print('x')\n")


def nothing_at_all(place: Path) -> None:
    pass


def thousands(place: Path) -> None:
    (place / "pyproject.toml").write_text('[project]\nname = "many"\nversion = "1"\nlicense = "MIT"\n')
    for number in range(3_000):
        folder = place / f"d{number % 60}"
        folder.mkdir(exist_ok=True)
        (folder / f"f{number}.py").write_text(f"x = {number}\n")


def odd_names_and_links(place: Path) -> None:
    base = os.fsencode(place)
    for name in (b"\xff\xfe.py", b"new\nline.py", "rechts\u202elinks.py".encode()):
        with open(os.path.join(base, name), "wb") as file:
            file.write(b"x = 1\n")
    (place / "loop").symlink_to(place)
    (place / "outside").symlink_to("/etc")
    (place / "dead").symlink_to("nowhere")
    os.mkfifo(place / "pipe")


def broken_manifests(place: Path) -> None:
    (place / "package.json").write_text("{not json")
    (place / "pyproject.toml").write_text("[project\n")
    (place / "requirements.txt").write_bytes(b"\xff\xfe\n-e .\n===\n")


def planted_secret(place: Path) -> None:
    (place / "settings.py").write_text(
        'AWS_SECRET_ACCESS_KEY = "' + "wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "zEXAMPLEKEZ" + '"\n'
    )
    (place / "seed.txt").write_text("SUAOFAJAKE2CEAIAT4DUVMUADX3PDLR45VCBOXVXQEDENS6LFOCF4BMWNQ\n")


def forbidden_licence(place: Path) -> None:
    (place / "pyproject.toml").write_text('[project]\nname = "shared"\nversion = "1"\nlicense = "AGPL-3.0-only"\n')
    (place / "a.py").write_text("x = 1\n")


TREES: list[tuple[Callable[[Path], None], str]] = [
    (tiny, "any"),
    (nothing_at_all, "any"),
    (thousands, "any"),
    (odd_names_and_links, "any"),
    (broken_manifests, "any"),
    (planted_secret, "blocked"),
    (forbidden_licence, "blocked"),
]


@pytest.mark.parametrize(("plant", "expected"), TREES, ids=[plant.__name__ for plant, _ in TREES])
def test_any_source_tree(tmp_path: Path, plant: Callable[[Path], None], expected: str) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    plant(tree)
    code, told = run(tmp_path, GOAL, "--input", f"path={tree}")
    status = told["status"]
    assert status["outcome"] in ("released", "blocked"), status["grounds"]
    assert code == {"released": 0, "blocked": 2}[status["outcome"]]
    assert told["audit"]["hops"] == told["audit"]["verified"]
    assert told["deliverable"], "also a blocked goal has its deliverable, which says so"
    if expected == "blocked":
        assert status["outcome"] == "blocked"
        assert any(finding["blocks"] for finding in status["findings"])
    told_text = json.dumps(told)
    assert "wJalrXUtnFEMI" not in told_text
    assert not re.search(r"SUAOFAJAKE", told_text)
