"""The house rules that tools do not hold (product.md, Repository layout)."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PORTIONS = ("envelope", "bus", "skills", "agents")
MAX_LINES = 400


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *patterns], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).exists()]


@pytest.mark.parametrize("portion", PORTIONS)
def test_portions_are_parts_of_one_namespace(portion: str) -> None:
    assert not (ROOT / portion / "__init__.py").exists()
    assert not (ROOT / portion / "interlock" / "__init__.py").exists()
    assert (ROOT / portion / "interlock" / portion / "py.typed").exists()


def test_modules_stay_small_and_say_what_they_are() -> None:
    modules = tracked("envelope/*.py", "bus/*.py", "skills/*.py", "agents/*.py")
    assert len(modules) > 100
    long = {str(path.relative_to(ROOT)): n for path in modules if (n := len(path.read_text().splitlines())) > MAX_LINES}
    assert long == {}
    vague = [path for path in modules if path.stem in ("utils", "util", "common", "helpers", "misc")]
    assert vague == []
    silent = [
        path
        for path in modules
        if path.name != "handler.py" and path.read_text() and not path.read_text().startswith('"""')
    ]
    assert silent == []


def test_nothing_tracked_knows_one_machine() -> None:
    paths = re.compile(r"(^|[^\w.])/(work|root|farm)/", re.MULTILINE)
    texts = tracked("*.py", "*.md", "*.yaml", "*.toml", "Makefile", ".ci/run")
    assert [str(path.relative_to(ROOT)) for path in texts if paths.search(path.read_text())] == []


def test_no_work_is_left_undone() -> None:
    marks = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    sources = tracked(
        "envelope/*.py", "bus/*.py", "skills/*.py", "agents/*.py", "scripts/*.py", "docs/*.md", "README.md"
    )
    found = [path.name for path in sources if marks.search(path.read_text())]
    assert found in ([], ["placeholders.py"]), "that one looks for such marks in deliverables"


def test_every_test_file_checks_something() -> None:
    files = [path for path in tracked("tests/*.py") if path.name.startswith("test_")]
    assert files
    assert [path.name for path in files if not re.search(r"\bassert\b|raises|check\(", path.read_text())] == []


def test_the_wheel_holds_all_portions_and_the_configuration(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    for wanted in (
        "interlock/envelope/model.py",
        "interlock/bus/hop.py",
        "interlock/skills/runner.py",
        "interlock/agents/cli/__init__.py",
        "interlock/_config/gates.yaml",
        "interlock/_config/playbooks/release-readiness.yaml",
        "interlock/skills/bundled/mapping-context/SKILL.md",
    ):
        assert wanted in names
    assert "interlock/__init__.py" not in names
