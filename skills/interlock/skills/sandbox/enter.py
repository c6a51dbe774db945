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


class Sandbox:
    """A confinement made ready by one process and entered by a child that it forks, in which every page that Python
    touches must be copied: what can be done before is done before. Close it once the child is on its way.
    """

    def __init__(self, confinement: Confinement) -> None:
        """Raises IsolationUnavailable in strict mode when a part of isolation is missing."""
        absent = missing()
        if absent and confinement.strict:
            raise IsolationUnavailable("this kernel has no " + " and no ".join(absent))
        self._limits = _limits(confinement)
        self._grants = Grants(
            processes=confinement.processes > 0,
            network=confinement.network,
            truncation=landlock.abi() >= _GUARDS_TRUNCATION,
        )
        self.ruleset = -1
        if seccomp.supported():
            seccomp.parts(platform.machine(), **self._grants)
        if landlock.abi() >= 1:
            readable = (*confinement.readable, *(_NETWORK_FILES if confinement.network else ()))
            try:
                self.ruleset = landlock.ruleset(
                    readable, interpreter_paths(), confinement.writable, network=confinement.network
                )
            except OSError as error:
                raise IsolationUnavailable(str(error)) from error

    def enter(self) -> None:
        """Confines the calling process for good. Raises OSError."""
        for what, limit in self._limits:
            resource.setrlimit(what, limit)
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        if self.ruleset >= 0:
            landlock.restrict(self.ruleset)
        _drop_capabilities()
        if seccomp.supported():
            seccomp.install(**self._grants)

    def close(self) -> None:
        if self.ruleset >= 0:
            os.close(self.ruleset)
            self.ruleset = -1


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
