"""Failpoints: off they cost nothing and do nothing; armed they kill once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from interlock.bus.failpoints import POINTS, VARIABLE, arm, failpoint

ROOT = Path(__file__).parents[2]
PROGRAM = "from interlock.bus.failpoints import failpoint\nfailpoint('hop_handled')\nprint('lived')"


def run(directory: Path | None) -> subprocess.CompletedProcess[str]:
    env = dict(os.environ) | ({VARIABLE: str(directory)} if directory else {})
    return subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=False)


@pytest.mark.process
def test_an_armed_point_kills_once_and_others_do_not(tmp_path: Path) -> None:
    arm(tmp_path, "hop_answered")
    assert run(tmp_path).stdout == "lived\n"
    arm(tmp_path, "hop_handled")
    assert run(None).stdout == "lived\n"
    assert run(tmp_path).returncode == -signal.SIGKILL
    assert run(tmp_path).stdout == "lived\n"
    assert (tmp_path / "hop_answered").exists()


def test_a_point_that_there_is_not_cannot_be_armed(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        arm(tmp_path, "nowhere")
    failpoint("hop_handled")  # this process has none


def test_every_point_is_in_the_code_once_and_every_one_in_the_code_is_known() -> None:
    sources = [path for portion in ("bus", "agents") for path in (ROOT / portion).rglob("*.py")]
    placed = [name for path in sources for name in re.findall(r'failpoint\("(\w+)"\)', path.read_text())]
    assert sorted(placed) == sorted(POINTS)
