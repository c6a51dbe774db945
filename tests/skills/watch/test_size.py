"""What the kernel tells of a process's size, whatever the process calls itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from interlock.skills.watch import family

NAMED = """
import ctypes, sys, threading
ctypes.CDLL(None).prctl(15, b"x\\nThreads:\\t9\\n", 0, 0, 0)
wait = threading.Event()
for _ in range(int(sys.argv[1])):
    threading.Thread(target=wait.wait, daemon=True).start()
print("up", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("more", [0, 2])
def test_a_process_cannot_tell_another_size_than_it_has(more: int) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", NAMED, str(more)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        size = family.size(child.pid)
        told = Path(f"/proc/{child.pid}/status").read_text()
    assert size.threads == 1 + more
    assert f"VmSize:\t{size.held_kb:8} kB" in told
    assert f"VmHWM:\t{size.peak_kb:8} kB" in told


def test_who_has_ended_has_no_size() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    with pytest.raises(OSError, match="No such"):
        family.size(child.pid)
