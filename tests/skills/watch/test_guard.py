"""The guard of a host that ends: dismissed where the executor lives on, left to clear up where it is gone as well."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

# An executor, and a host that has heard that its line is closed.
HOST = """
import os, signal, socket, sys
from pathlib import Path
from interlock.skills.watch.guard import Guard

ours, theirs = socket.socketpair()
host = os.fork()
if host == 0:
    guard = Guard(Path(sys.argv[1]), theirs.fileno())
    if sys.argv[2] == "killed":
        os.kill(os.getppid(), signal.SIGKILL)
    guard.dismiss()
    os._exit(0)
os.waitpid(host, 0)
"""


@pytest.mark.parametrize(("fate", "left"), [("killed", False), ("lives on", True)])
def test_the_directory_of_runs_outlives_only_a_living_executor(tmp_path: Path, fate: str, left: bool) -> None:
    place = tmp_path / "runs"
    (place / "scratch").mkdir(parents=True)
    ended = subprocess.run([sys.executable, "-c", HOST, str(place), fate], timeout=30, check=False)
    assert (ended.returncode == 0) is left
    deadline = time.monotonic() + 10
    while place.exists() is not left:
        assert time.monotonic() < deadline
        time.sleep(0.01)
