"""A seccomp filter in classic BPF: what no skill has any business calling answers EPERM (seccomp(2))."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from functools import cache
from pathlib import Path

from interlock.skills.sandbox.calls import ARGUMENT_RULES, DENIED, FORKING, MESSAGES, NETWORK_SOCKETS, NUMBERS, Rule
from interlock.skills.sandbox.libc import PR_SET_SECCOMP, prctl

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
EPERM, ENOSYS = 1, 38
LOAD, JEQ, JGE, JSET, AND, RET = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
CLONE_THREAD = 0x10000
O_ACCMODE, O_TRUNC = 0o3, 0o1000
ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_NR, _ARCH, _ARGUMENTS = 0, 4, 16


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


@cache
def supported() -> bool:
    """Whether this machine's instruction set is known and the kernel has seccomp filters."""
    return platform.machine() in ARCHES and Path("/proc/sys/kernel/seccomp/actions_avail").exists()


def install(*, processes: bool, network: bool, truncation: bool) -> None:
    """Filters this process and all it starts, for good. processes: it may fork and execute. network: it may open
    internet sockets. truncation: Landlock of this kernel guards files against being cut off; if not, the filter does.
    Needs no_new_privs. Raises OSError.
    """
    program = build(platform.machine(), os.getpid(), processes=processes, network=network, truncation=truncation)
    holder = _Program(len(program) // 8, program)
    prctl(PR_SET_SECCOMP, 2, ctypes.byref(holder))


def build(machine: str, pid: int, *, processes: bool, network: bool, truncation: bool) -> bytes:
    """The filter as sock_filter records. Pure. Only the lower half of an argument is looked at, as the kernel does
    with these arguments itself: they are ints there.
    """
    before, after = parts(machine, processes=processes, network=network, truncation=truncation)
    return before + _look(machine, Rule("tgkill", 0, only=(pid,))) + after


@cache
def parts(machine: str, *, processes: bool, network: bool, truncation: bool) -> tuple[bytes, bytes]:
    """What comes before and after the one rule that names the process: asked for before a fork, the child has them."""
    code = _head(machine)
    for name in _denied(processes=processes, network=network, truncation=truncation):
        code += _answer(machine, name, ERRNO | EPERM)
    # glibc falls back to clone and openat, whose flags can be looked at, where the newer call does not exist.
    for name in ("clone3", *([] if truncation else ["openat2"])):
        code += _answer(machine, name, ERRNO | ENOSYS)
    after = b"".join(_look(machine, rule) for rule in (*ARGUMENT_RULES, *([NETWORK_SOCKETS] if network else [])))
    if not processes:
        after += _thread_only(machine)
    if not truncation:
        after += _no_truncation(machine, "open", 1) + _no_truncation(machine, "openat", 2)
    return code, after + _op(RET, ALLOW)


def _head(machine: str) -> bytes:
    code = _op(LOAD, _ARCH) + _op(JEQ, ARCHES[machine], 1, 0) + _op(RET, KILL) + _op(LOAD, _NR)
    if machine == "x86_64":  # the x32 calls would slip past the numbers below
        code += _op(JGE, 0x40000000, 0, 1) + _op(RET, ERRNO | EPERM)
    return code


def _denied(*, processes: bool, network: bool, truncation: bool) -> tuple[str, ...]:
    names = list(DENIED)
    if not processes:
        names += FORKING
    if not network:
        names.append("socket")
    if not (network or processes):
        names += MESSAGES
    if not truncation:
        names.append("truncate")
    return tuple(names)


def _number(machine: str, name: str) -> int:
    return NUMBERS[name][list(ARCHES).index(machine)]


def _answer(machine: str, name: str, action: int) -> bytes:
    number = _number(machine, name)
    return b"" if number < 0 else _op(JEQ, number, 0, 1) + _op(RET, action)


def _look(machine: str, rule: Rule) -> bytes:
    """One call decided by one argument. A jump skips the rest of this piece; nothing reads the number afterwards."""
    number = _number(machine, rule.call)
    if number < 0:
        return b""
    matched, otherwise = (ALLOW, ERRNO | EPERM) if rule.only else (ERRNO | EPERM, ALLOW)
    piece = _op(LOAD, _ARGUMENTS + 8 * rule.argument)
    for value in rule.only or rule.never:
        piece += _op(JEQ, value, 0, 1) + _op(RET, matched)
    piece += _op(RET, otherwise)
    return _op(JEQ, number, 0, len(piece) // 8) + piece


def _thread_only(machine: str) -> bytes:
    piece = _op(LOAD, _ARGUMENTS) + _op(JSET, CLONE_THREAD, 1, 0) + _op(RET, ERRNO | EPERM) + _op(RET, ALLOW)
    return _op(JEQ, _number(machine, "clone"), 0, len(piece) // 8) + piece


def _no_truncation(machine: str, name: str, argument: int) -> bytes:
    """Opening for reading with O_TRUNC cuts a file off that may only be read."""
    number = _number(machine, name)
    if number < 0:
        return b""
    load = _op(LOAD, _ARGUMENTS + 8 * argument)
    piece = load + _op(JSET, O_TRUNC, 1, 0) + _op(RET, ALLOW)
    piece += _op(AND, O_ACCMODE) + _op(JEQ, 0, 0, 1) + _op(RET, ERRNO | EPERM) + _op(RET, ALLOW)
    return _op(JEQ, number, 0, len(piece) // 8) + piece


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
