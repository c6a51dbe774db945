"""Entering the sandbox: the order matters, each step closes a door that the next one would need."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import sys
import sysconfig
from functools import cache
from typing import TypedDict

from msgspec import Struct

from interlock.skills.sandbox import landlock, seccomp
from interlock.skills.sandbox.libc import PR_SET_NO_NEW_PRIVS, prctl, syscall

_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_HEADER, _NO_CAPABILITIES = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
# What an interpreter needs to read besides its own installation.
_SYSTEM = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib", "/usr/share/zoneinfo")
_SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/localtime", "/etc/mime.types", "/dev/null", "/dev/urandom", "/dev/random")
# What finding and trusting another machine needs besides.
_NETWORK_FILES = (
    "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/services", "/etc/gai.conf", "/etc/ssl", "/etc/pki",
    "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
)  # fmt: skip
# From this version on Landlock also guards against truncation (Linux 6.2).
_GUARDS_TRUNCATION = 3


class Confinement(Struct, frozen=True, kw_only=True):
    """What a run is given. Sizes in bytes, times in seconds."""

    cpu_seconds: int
    memory_bytes: int
    file_bytes: int
    processes: int
    network: bool
    readable: tuple[str, ...]
    writable: tuple[str, ...]
    strict: bool


class Grants(TypedDict):
    """What the filter of system calls depends on."""

    processes: bool
    network: bool
    truncation: bool


class IsolationUnavailable(Exception):
    """The kernel cannot isolate as asked."""


@cache
def missing() -> tuple[str, ...]:
    """What this kernel lacks of full isolation, for `doctor` and for refusing runs."""
    if sys.platform != "linux":
        return ("Linux",)
    problems = []
    if landlock.abi() < 1:
        problems.append("Landlock (Linux 5.13 and newer, enabled with lsm=landlock)")
    if not seccomp.supported():
        problems.append("seccomp filters on x86_64 or aarch64")
    return tuple(problems)


def rules_for(confinement: Confinement) -> int:
    """A descriptor of the Landlock rules, -1 where the kernel has none: made by one process for a child that enters. The caller
    closes it. Raises IsolationUnavailable, in strict mode also when another part of isolation is missing.
    """
    absent = missing()
    if absent and confinement.strict:
        raise IsolationUnavailable("this kernel has no " + " and no ".join(absent))
    if landlock.abi() < 1:
        return -1
    readable = (*confinement.readable, *(_NETWORK_FILES if confinement.network else ()))
    try:
        return landlock.ruleset(readable, interpreter_paths(), confinement.writable, network=confinement.network)
    except OSError as error:
        raise IsolationUnavailable(str(error)) from error


def make_ready() -> None:
    """What every child would find out and build anew: in the process that forks them, it is there for all."""
    if seccomp.supported():
        for processes in (False, True):
            for network in (False, True):
                seccomp.parts(platform.machine(), **_grants(processes=processes, network=network))


def enter(confinement: Confinement, rules: int) -> None:
    """Confines the calling process for good. rules: from rules_for. Raises OSError."""
    for what, limit in _limits(confinement):
        resource.setrlimit(what, limit)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    if rules >= 0:
        landlock.restrict(rules)
    _drop_capabilities()
    if seccomp.supported():
        seccomp.install(**_grants(processes=confinement.processes > 0, network=confinement.network))


def _grants(*, processes: bool, network: bool) -> Grants:
    return Grants(processes=processes, network=network, truncation=landlock.abi() >= _GUARDS_TRUNCATION)


@cache
def interpreter_paths() -> tuple[str, ...]:
    """Directories and files that running Python itself needs."""
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *(entry for entry in sys.path if entry)}
    wanted = sorted(os.path.realpath(path) for path in {*prefixes, *paths, *_SYSTEM})
    tops: list[str] = []
    for path in wanted:
        if not any(path.startswith(top.rstrip("/") + "/") for top in tops):
            tops.append(path)
    return (*dict.fromkeys(tops), *_SYSTEM_FILES)


def _limits(confinement: Confinement) -> list[tuple[int, tuple[int, int]]]:
    """(resource, (soft, hard)): none above what the calling process has itself."""
    cpu = confinement.cpu_seconds
    wanted = (
        (resource.RLIMIT_CPU, cpu, cpu + 1),
        (resource.RLIMIT_AS, confinement.memory_bytes, confinement.memory_bytes),
        (resource.RLIMIT_FSIZE, confinement.file_bytes, confinement.file_bytes),
        (resource.RLIMIT_NOFILE, 256, 256),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_MEMLOCK, 0, 0),
        (resource.RLIMIT_MSGQUEUE, 0, 0),
    )
    limits = []
    for what, soft, hard in wanted:
        ceiling = resource.getrlimit(what)[1]
        most = hard if ceiling == resource.RLIM_INFINITY else min(hard, ceiling)
        limits.append((what, (min(soft, most), most)))
    return limits


def _drop_capabilities() -> None:
    """Root inside the sandbox is nobody special; without any, this changes nothing."""
    number = _CAPSET.get(platform.machine())
    if number is not None:
        syscall(number, ctypes.byref(_CAPABILITY_HEADER), ctypes.byref(_NO_CAPABILITIES))
