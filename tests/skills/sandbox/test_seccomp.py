"""The filter, run by a small machine of our own for both instruction sets, and by the kernel for this one."""

from __future__ import annotations

import errno
import os
import re
import signal
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from interlock.skills.sandbox import seccomp
from interlock.skills.sandbox.calls import DENIED, FORKING, MESSAGES, NUMBERS
from interlock.skills.sandbox.libc import PR_SET_NO_NEW_PRIVS, prctl

PID = 4_321
DENY, UNKNOWN = seccomp.ERRNO | seccomp.EPERM, seccomp.ERRNO | seccomp.ENOSYS
ARCHES = list(seccomp.ARCHES)


def judged(program: bytes, machine: str, number: int, *arguments: int) -> int:
    """What the filter answers: classic BPF over struct seccomp_data (linux/seccomp.h)."""
    filled = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=iIQ6Q", number, seccomp.ARCHES[machine], 0, *[value & (1 << 64) - 1 for value in filled])
    code = list(struct.iter_unpack("=HBBI", program))
    held = place = 0
    while True:
        operation, if_true, if_false, value = code[place]
        place += 1
        if operation == seccomp.RET:
            return int(value)
        if operation == seccomp.LOAD:
            (held,) = struct.unpack_from("=I", data, value)
        elif operation == seccomp.AND:
            held &= value
        else:
            hit = {seccomp.JEQ: held == value, seccomp.JGE: held >= value, seccomp.JSET: bool(held & value)}[operation]
            place += if_true if hit else if_false


def ask(name: str, *arguments: int, machine: str = "x86_64", processes: bool = False, network: bool = False,
        truncation: bool = True) -> int:  # fmt: skip
    program = seccomp.build(machine, PID, processes=processes, network=network, truncation=truncation)
    return judged(program, machine, NUMBERS[name][ARCHES.index(machine)], *arguments)


def exists(name: str, machine: str) -> bool:
    return NUMBERS[name][ARCHES.index(machine)] >= 0


@pytest.mark.parametrize("machine", ARCHES)
@pytest.mark.parametrize("name", DENIED)
def test_some_calls_are_never_made(machine: str, name: str) -> None:
    if exists(name, machine):
        for grants in ({}, {"processes": True, "network": True}, {"truncation": False}):
            assert ask(name, machine=machine, **grants) == DENY


CLONE_THREAD, SIGCHLD = 0x10000, 17
AF_UNIX, AF_INET, AF_NETLINK, AF_INET6, AF_PACKET = 1, 2, 16, 10, 17
O_RDONLY, O_WRONLY, O_RDWR, O_TRUNC, O_CREAT = 0, 1, 2, 0o1000, 0o100
CASES = [
    ("clone", (CLONE_THREAD | SIGCHLD,), {}, seccomp.ALLOW),
    ("clone", (SIGCHLD,), {}, DENY),
    ("clone", (SIGCHLD,), {"processes": True}, seccomp.ALLOW),
    ("clone3", (0,), {"processes": True}, UNKNOWN),
    ("tgkill", (PID, PID, 9), {}, seccomp.ALLOW),
    ("tgkill", (PID + 1, PID, 9), {}, DENY),
    ("tgkill", (PID + 1, PID, 9), {"processes": True}, DENY),
    ("socket", (AF_INET,), {}, DENY),
    ("socket", (AF_UNIX,), {}, DENY),
    ("socket", (AF_INET,), {"processes": True}, DENY),
    ("socket", (AF_INET,), {"network": True}, seccomp.ALLOW),
    ("socket", (AF_INET6,), {"network": True}, seccomp.ALLOW),
    ("socket", (AF_UNIX,), {"network": True}, DENY),
    ("socket", (AF_NETLINK,), {"network": True}, DENY),
    ("socket", (AF_PACKET,), {"network": True}, DENY),
    ("sendmsg", (), {"network": True}, seccomp.ALLOW),
    ("sendmsg", (), {"processes": True}, seccomp.ALLOW),
    ("prctl", (1, 0), {"processes": True, "network": True}, DENY),
    ("prctl", (4, 0), {}, DENY),
    ("prctl", (36, 1), {}, DENY),
    ("prctl", (15, 0), {}, seccomp.ALLOW),
    ("prlimit64", (0, 7), {}, seccomp.ALLOW),
    ("prlimit64", (PID, 7), {}, DENY),
    ("prlimit64", (1 << 32, 7), {}, seccomp.ALLOW),  # the kernel reads an int: 0
    ("fcntl", (5, 8), {}, DENY),
    ("fcntl", (5, 15), {}, DENY),
    ("fcntl", (5, 1), {}, seccomp.ALLOW),
    ("ioctl", (5, 0x8901), {}, DENY),
    ("ioctl", (5, 0x8902), {}, DENY),
    ("ioctl", (5, 0x5413), {}, seccomp.ALLOW),
    ("openat", (0, 0, O_RDONLY | O_TRUNC), {}, seccomp.ALLOW),
    ("openat", (0, 0, O_RDONLY | O_TRUNC), {"truncation": False}, DENY),
    ("openat", (0, 0, O_WRONLY | O_TRUNC | O_CREAT), {"truncation": False}, seccomp.ALLOW),
    ("openat", (0, 0, O_RDWR | O_TRUNC), {"truncation": False}, seccomp.ALLOW),
    ("openat", (0, 0, O_RDONLY), {"truncation": False}, seccomp.ALLOW),
    ("open", (0, O_RDONLY | O_TRUNC), {"truncation": False}, DENY),
    ("open", (0, O_WRONLY | O_TRUNC), {"truncation": False}, seccomp.ALLOW),
    ("openat2", (), {}, seccomp.ALLOW),
    ("openat2", (), {"truncation": False}, UNKNOWN),
    ("truncate", (), {}, seccomp.ALLOW),
    ("truncate", (), {"truncation": False}, DENY),
    *[(name, (), {}, DENY) for name in (*FORKING, *MESSAGES)],
    *[(name, (), {"processes": True}, seccomp.ALLOW) for name in FORKING],
]  # fmt: skip


@pytest.mark.parametrize("machine", ARCHES)
@pytest.mark.parametrize(("name", "arguments", "grants", "answer"), CASES)
def test_calls_are_judged_by_what_they_ask(
    machine: str, name: str, arguments: tuple[int, ...], grants: dict[str, bool], answer: int
) -> None:
    if exists(name, machine):
        assert ask(name, *arguments, machine=machine, **grants) == answer


@pytest.mark.parametrize("machine", ARCHES)
@pytest.mark.parametrize("number", [0, 1, 3, 9, 11, 13, 60, 202, 231, 500])
def test_everything_else_is_allowed(machine: str, number: int) -> None:
    if all(numbers[ARCHES.index(machine)] != number for numbers in NUMBERS.values()):
        program = seccomp.build(machine, PID, processes=False, network=False, truncation=True)
        assert judged(program, machine, number) == seccomp.ALLOW


def test_other_instruction_sets_do_not_slip_past() -> None:
    program = seccomp.build("x86_64", PID, processes=True, network=True, truncation=True)
    assert judged(program, "aarch64", 0) == seccomp.KILL
    assert judged(program, "x86_64", 0x40000000 | 41) == DENY, "x32"
    assert len(program) // 8 < 4_096, "the kernel's limit"


HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


@pytest.mark.parametrize("machine", ARCHES)
def test_numbers_are_those_of_the_kernel(machine: str) -> None:
    if not HEADERS[machine].exists():
        pytest.skip("the kernel's headers are not installed")
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", HEADERS[machine].read_text())
    known = {name: int(number) for name, number in found}
    for name, numbers in NUMBERS.items():
        number = numbers[ARCHES.index(machine)]
        assert known.get(name, number) == number, name
        assert number < 0 or name in known, name


def in_a_child(attempt: Callable[[], object], *, truncation: bool) -> int:
    """errno of the attempt under a real filter, 0 if it may be done."""
    pid = os.fork()
    if pid == 0:
        status = 255
        try:
            prctl(PR_SET_NO_NEW_PRIVS, 1)
            seccomp.install(processes=False, network=False, truncation=truncation)
            attempt()
            status = 0
        except OSError as error:
            status = error.errno or 254
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_files_are_not_cut_off_where_landlock_does_not_see_it(tmp_path: Path) -> None:
    file = tmp_path / "kept"
    file.write_text("kept")
    for attempt in (lambda: os.open(file, os.O_RDONLY | os.O_TRUNC), lambda: os.truncate(file, 0)):
        assert in_a_child(attempt, truncation=False) == errno.EPERM
        assert file.read_text() == "kept"
    assert in_a_child(lambda: file.write_text("new"), truncation=False) == 0
    assert in_a_child(lambda: os.truncate(file, 1), truncation=True) == 0
    assert file.read_text() == "n"


def test_the_kernel_takes_the_filter() -> None:
    assert in_a_child(lambda: os.kill(os.getppid(), 0), truncation=True) == errno.EPERM
    assert in_a_child(os.fork, truncation=True) == errno.EPERM
    assert in_a_child(lambda: signal.raise_signal(signal.SIGCONT), truncation=True) == 0
