"""The processes of one run: its process group, which the sandbox lets nobody leave."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

from msgspec import Struct

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_UTIME, _STIME, _RSS, _STATE, _PGRP = 11, 12, 21, 0, 2
_REAP_S = 5.0
_STATUS_BYTES = 1 << 14
_SIZE_NAMES = ("VmSize", "VmHWM", "Threads")
# The name of the process, its first line, may be anything, but holds no line break (proc(5) writes it as an escape).
_SIZES = re.compile(rb"\n(VmSize|VmHWM|Threads):[ \t]*(\d+)")


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


class Size(Struct, frozen=True):
    """Of a living process: address space, the most that was in memory (both in KB), threads."""

    held_kb: int
    peak_kb: int
    threads: int


def size(pid: int) -> Size:
    """Asked after every run of a cell, so without a file object and the lines nobody wants. Raises OSError, and ValueError
    where the kernel does not tell.
    """
    descriptor = os.open(f"/proc/{pid}/status", os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = dict(_SIZES.findall(os.read(descriptor, _STATUS_BYTES)))
    finally:
        os.close(descriptor)
    if len(found) < len(_SIZE_NAMES):
        raise ValueError(f"/proc/{pid}/status does not tell {', '.join(_SIZE_NAMES)}")
    return Size(*(int(found[name.encode()]) for name in _SIZE_NAMES))


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
