"""Landlock: the run sees only what it was given (kernel documentation, userspace-api/landlock)."""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Sequence
from functools import cache

from interlock.skills.sandbox.libc import syscall

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_NET = 0b11
_SCOPES = 0b11
READ = _READ_FILE | _READ_DIR
READ_EXECUTE = READ | _EXECUTE


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("fd", ctypes.c_int32))


@cache
def abi() -> int:
    """The kernel's Landlock version, 0 if it has none."""
    try:
        return syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    except OSError:
        return 0


def _all_access(version: int) -> int:
    access = (1 << 13) - 1
    access |= _REFER if version >= 2 else 0
    access |= _TRUNCATE if version >= 3 else 0
    return access | (_IOCTL_DEV if version >= 5 else 0)


def ruleset(readable: Sequence[str], executable: Sequence[str], writable: Sequence[str], *, network: bool) -> int:
    """A descriptor of rules, for `restrict`: `readable` may be read, `executable` also mapped as code, `writable`
    changed, and nothing else touched. Without network no TCP port may be bound or connected to; signals and abstract
    sockets stay within. Paths that do not exist are left out. Raises OSError.
    """
    version = abi()
    everything = _all_access(version)
    rules = _Ruleset(everything, 0 if network or version < 4 else _NET, _SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    handle = syscall(_CREATE, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        for paths, access in ((readable, READ), (executable, READ_EXECUTE), (writable, everything & ~_EXECUTE)):
            for path in paths:
                _allow(handle, path, access & everything)
    except BaseException:
        os.close(handle)
        raise
    return handle


def restrict(handle: int) -> None:
    """From now on this process and its children live by these rules. Needs no_new_privs. Raises OSError."""
    syscall(_RESTRICT, ctypes.c_int(handle), ctypes.c_uint32(0))


def _allow(handle: int, path: str, access: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            access &= _ON_FILES
        rule = _PathBeneath(access, descriptor)
        syscall(_ADD, ctypes.c_int(handle), ctypes.c_int(_PATH_BENEATH), ctypes.byref(rule), ctypes.c_uint32(0))
    finally:
        os.close(descriptor)
