"""The processes of one run: its process group, which the sandbox lets nobody leave."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from msgspec import Struct

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_UTIME, _STIME, _RSS, _STATE, _PGRP = 11, 12, 21, 0, 2
_REAP_S = 5.0


class Member(Struct, frozen=True):
    """A living process. cpu_us: its own, without what its children used."""

    pid: int
    cpu_us: int
    rss_bytes: int


def members(leader: int) -> list[Member]:
    """Who lives in the process group of leader."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            fields = _stat(process)
            if fields and fields[_STATE] != "Z" and int(fields[_PGRP]) == leader:
                ticks = int(fields[_UTIME]) + int(fields[_STIME])
                found.append(Member(int(process.name), ticks * 1_000_000 // _TICKS_PER_S, int(fields[_RSS]) * _PAGE))
    return found


def _stat(process: Path) -> list[str]:
    """proc(5): the fields behind the name, which may hold anything."""
    try:
        return (process / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def status(pid: int) -> dict[str, str]:
    """proc(5): what the kernel tells of a living process, by name. Raises OSError."""
    text = Path(f"/proc/{pid}/status").read_text(errors="replace")
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def end(leader: int) -> int:
    """Kills and reaps whatever is left of a run's group; the CPU time in µs of those whom nobody had waited for.
    Orphans come to this process, which must be a subreaper.
    """
    cpu_us = 0
    deadline = time.monotonic() + _REAP_S
    while time.monotonic() < deadline:
        try:
            os.killpg(leader, signal.SIGKILL)
            _, _, usage = os.wait4(-leader, 0)
            cpu_us += cpu_of(usage.ru_utime, usage.ru_stime)
        except ChildProcessError:
            time.sleep(0.001)  # killed, but not yet handed over by a parent that is dying too
        except ProcessLookupError:
            return cpu_us
    return cpu_us


def cpu_of(user_s: float, system_s: float) -> int:
    """Microseconds."""
    return int((user_s + system_s) * 1_000_000)
