"""Standard output may be closed, full, or of few characters: never a traceback, never a hang."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from interlock.agents.cli.output import prepare_output

pytestmark = pytest.mark.process
CLI = [sys.executable, "-m", "interlock.agents"]
POOR = [
    {"PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"NO_COLOR": "1", "TERM": "dumb"},
]


@pytest.mark.parametrize("variables", POOR, ids=["ascii", "LC_ALL=C", "NO_COLOR"])
@pytest.mark.parametrize("arguments", [["--help"], ["trace", "--help"], ["doctor"]], ids=" ".join)
def test_few_characters_are_enough(arguments: list[str], variables: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [*CLI, *arguments], cwd=tmp_path, env=os.environ | variables, capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    assert b"\x1b" not in done.stdout


def test_what_an_encoding_lacks_is_told_in_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    prepare_output()
    print("a → b ✓ ✗ é 漢", flush=True)
    assert raw.getvalue() == b"a -> b ok FAIL \\xe9 \\u6f22\n"


@pytest.mark.parametrize("arguments", [["--help"], ["doctor"], ["goals"], ["doctor", "--json"]], ids=" ".join)
def test_a_reader_that_went_away(arguments: list[str], tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [*CLI, *arguments], cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, timeout=30, check=False
        )
    finally:
        os.close(write)
    assert done.returncode == 1
    assert done.stderr == b"" if arguments != ["goals"] else done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("where", [">&-", "2>&-", ">&- 2>&-", "<&-"])
def test_streams_that_were_closed_before(where: str, tmp_path: Path) -> None:
    command = f"exec '{sys.executable}' -m interlock.agents doctor {where}"
    done = subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0
    assert done.stderr == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*CLI, "doctor"], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, timeout=30, check=False
        )
    assert done.returncode == 1
    assert b"system_error" in done.stderr
    assert done.stderr.count(b"\n") == 1
