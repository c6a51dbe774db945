"""A seccomp filter in classic BPF: what no skill has any business calling answers EPERM (seccomp(2))."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from pathlib import Path

from interlock.skills.sandbox.libc import PR_SET_SECCOMP, prctl

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_LOAD, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
_CLONE_THREAD = 0x10000
_ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_NUMBERS: dict[str, tuple[int, int]] = {  # name: (x86_64, aarch64); -1: does not exist there
    "setsid": (112, 157), "setpgid": (109, 154), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "unshare": (272, 97), "setns": (308, 268), "bpf": (321, 280), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "kill": (62, 129), "tkill": (200, 130),
    "pidfd_send_signal": (424, 424), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "reboot": (169, 142), "swapon": (167, 224),
    "swapoff": (168, 225), "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171),
    "sethostname": (170, 161), "setdomainname": (171, 162), "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264), "mknod": (133, -1), "mknodat": (259, 33), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsmount": (432, 432), "mount_setattr": (442, 442),
    "acct": (163, 89), "quotactl": (179, 60), "iopl": (172, -1), "ioperm": (173, -1),
}  # fmt: skip
_FORKING = {"fork": (57, -1), "vfork": (58, -1), "execve": (59, 221), "execveat": (322, 281)}
_NETWORK = {"socket": (41, 198)}
_CLONE, _CLONE3, _TGKILL = (56, 220), (435, 435), (234, 131)
_NR, _ARCH, _ARG0 = 0, 4, 16


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def supported() -> bool:
    """Whether this machine's instruction set is known and the kernel has seccomp filters."""
    return platform.machine() in _ARCHES and Path("/proc/sys/kernel/seccomp/actions_avail").exists()


def install(*, processes: bool, network: bool) -> None:
    """Filters this process and all it starts, for good. processes: it may fork and execute. Needs no_new_privs."""
    program = build(platform.machine(), os.getpid(), processes=processes, network=network)
    holder = _Program(len(program) // 8, program)
    prctl(PR_SET_SECCOMP, 2, ctypes.byref(holder))


def build(machine: str, pid: int, *, processes: bool, network: bool) -> bytes:
    """The filter as sock_filter records. Pure."""
    column = list(_ARCHES).index(machine)
    denied = dict(_NUMBERS)
    if not processes:
        denied |= _FORKING
    if not network:
        denied |= _NETWORK
    code = [
        _op(_LOAD, _ARCH), _op(_JEQ, _ARCHES[machine], 1, 0), _op(_RET, _KILL),
        _op(_LOAD, _NR),
    ]  # fmt: skip
    if machine == "x86_64":  # the x32 calls would slip past the numbers below
        code += [_op(_JGE, 0x40000000, 0, 1), _op(_RET, _ERRNO | _EPERM)]
    for numbers in denied.values():
        if numbers[column] >= 0:
            code += [_op(_JEQ, numbers[column], 0, 1), _op(_RET, _ERRNO | _EPERM)]
    # glibc falls back to clone, whose flags can be looked at, when clone3 does not exist.
    code += [_op(_JEQ, _CLONE3[column], 0, 1), _op(_RET, _ERRNO | _ENOSYS)]
    code += [_op(_JEQ, _TGKILL[column], 0, 4), _op(_LOAD, _ARG0), _op(_JEQ, pid, 1, 0), _op(_RET, _ERRNO | _EPERM)]
    code += [_op(_RET, _ALLOW)]
    if not processes:
        code += [_op(_JEQ, _CLONE[column], 0, 3), _op(_LOAD, _ARG0), _op(_JSET, _CLONE_THREAD, 1, 0)]
        code += [_op(_RET, _ERRNO | _EPERM)]
    code += [_op(_RET, _ALLOW)]
    return b"".join(code)


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
