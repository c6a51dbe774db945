"""A machine that cannot run Interlock is told so in one line, with what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What bootstrap.py looks at; nothing is locked."""
    for name in ("scripts", "requirements", "own"):
        (tmp_path / name).mkdir()
    shutil.copy(ROOT / "scripts" / "bootstrap.py", tmp_path / "scripts")
    (tmp_path / "requirements" / "run.lock").write_text("")
    (tmp_path / "pyproject.toml").write_text("")
    return tmp_path


def refused(clone: Path, before: str = "", modules: dict[str, str] | None = None) -> str:
    """The one line that it says. before: what is done to its Python first; modules: what takes the place of Python's own."""
    for name, text in (modules or {}).items():
        (clone / "own" / f"{name}.py").write_text(text)
    script = str(clone / "scripts" / "bootstrap.py")
    program = f"import sys, shutil, runpy; {before}\nrunpy.run_path({script!r}, run_name='__main__')"
    environment = os.environ | {"PYTHONPATH": str(clone / "own")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("interlock: ")
    return line


def test_an_environment_that_nobody_knows(clone: Path) -> None:
    assert "there is no environment x. Name one of: bench, dev, run" in refused(clone, "sys.argv[1:] = ['x']")


def test_an_old_python(clone: Path) -> None:
    assert "Python 3.9 is too old. Install Python 3.11" in refused(clone, "sys.version_info = (3, 9, 18)")


def test_a_python_without_venv(clone: Path) -> None:
    said = refused(clone, modules={"ensurepip": "raise ImportError('no ensurepip')"})
    assert "no venv module" in said and "apt-get install python3-venv" in said


def test_a_small_disk(clone: Path) -> None:
    said = refused(clone, "shutil.disk_usage = lambda path: shutil._ntuple_diskusage(10**9, 0, 5 << 20)")
    assert "only 5 MB of disk are free" in said and str(clone) in said


def test_a_disk_that_fills_up_while_the_environment_is_made_is_not_blamed_on_python(clone: Path) -> None:
    """It said no more than that python3-venv should be installed."""
    full = "if __name__ == '__main__':\n    print('[Errno 28] No space left on device\\nReturned 1')\n    raise SystemExit(1)"
    said = refused(clone, modules={"venv": full})
    assert "No space left on device" in said
    assert not (clone / ".venv").exists()


def test_an_environment_that_was_left_half_made_is_made_anew(clone: Path) -> None:
    """Every further `make` failed with "No module named pip"."""
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (clone / ".venv" / "left").write_text("over")
    said = refused(clone)
    assert "installing the locked packages failed" in said, "an empty project cannot be installed"
    assert "No module named pip" not in said
    assert (clone / ".venv" / "bin" / "pip").exists()
    assert not (clone / ".venv" / "left").exists()


def test_what_cannot_be_read_or_written(clone: Path) -> None:
    (clone / ".venv" / "stamp-run").mkdir(parents=True)
    assert "Is a directory" in refused(clone)
