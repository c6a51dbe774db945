"""Entering the sandbox: the order matters, each step closes a door that the next one would need."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import sysconfig
from functools import cache

from msgspec import Struct

from interlock.skills.sandbox import landlock, seccomp
from interlock.skills.sandbox.libc import PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, prctl, syscall

_CAPSET = {"x86_64": 126, "aarch64": 91}
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


def enter(confinement: Confinement) -> None:
    """Confines the calling process for good. Raises IsolationUnavailable in strict mode when a part is missing."""
    absent = missing()
    if absent and confinement.strict:
        raise IsolationUnavailable("this kernel has no " + " and no ".join(absent))
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    _limit(confinement)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    if landlock.abi() >= 1:
        readable = (*confinement.readable, *(_NETWORK_FILES if confinement.network else ()))
        landlock.restrict(readable, interpreter_paths(), confinement.writable, network=confinement.network)
    _drop_capabilities()
    if seccomp.supported():
        seccomp.install(
            processes=confinement.processes > 0,
            network=confinement.network,
            truncation=landlock.abi() >= _GUARDS_TRUNCATION,
        )


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


def _limit(confinement: Confinement) -> None:
    def at_most(what: int, value: int, hard: int | None = None) -> None:
        ceiling = resource.getrlimit(what)[1]
        wanted = value if hard is None else hard
        if ceiling != resource.RLIM_INFINITY:
            wanted = min(wanted, ceiling)
        resource.setrlimit(what, (min(value, wanted), wanted))

    at_most(resource.RLIMIT_CPU, confinement.cpu_seconds, confinement.cpu_seconds + 1)
    at_most(resource.RLIMIT_AS, confinement.memory_bytes)
    at_most(resource.RLIMIT_FSIZE, confinement.file_bytes)
    at_most(resource.RLIMIT_NOFILE, 256)
    at_most(resource.RLIMIT_CORE, 0)
    at_most(resource.RLIMIT_MEMLOCK, 0)
    at_most(resource.RLIMIT_MSGQUEUE, 0)


def _drop_capabilities() -> None:
    """Root inside the sandbox is nobody special; without any, this changes nothing."""
    number = _CAPSET.get(os.uname().machine)
    if number is not None:
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        nothing = (ctypes.c_uint32 * 6)()
        syscall(number, ctypes.byref(header), ctypes.byref(nothing))
