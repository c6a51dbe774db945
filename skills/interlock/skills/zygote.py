"""The zygote: a process that does nothing but fork the children that become runs (docs/adr/0020; the word is Chromium's).

It is forked from the host before the host hears of any run, and hears of none itself: a child is given descriptors, and
reads from one of them what it is to do. So a child finds nothing of other goals in the memory that it is born with, and
what the host writes meanwhile is not copied for it.

Packets over a socket pair, one answer to each. It ends when its line does, and its children with it.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import signal
import socket
import struct
from collections.abc import Sequence
from typing import NoReturn

from msgspec import Struct

from interlock.skills.child import TURNS, become_run
from interlock.skills.sandbox.enter import make_ready
from interlock.skills.sandbox.libc import PR_SET_PDEATHSIG, prctl
from interlock.skills.watch.family import cpu_of

_FORK, _REAP = 1, 2
_REQUEST = struct.Struct("=Bi")  # what; how many descriptors, or pid
_ANSWER = struct.Struct("=iiqq")  # pid or -errno, status, CPU in µs, most memory in KB
_MOST_DESCRIPTORS = 8
_HIGHEST = 1 << 20


class ZygoteLost(Exception):
    """It ended: no run can begin, and those that had begun died with it."""


class Ended(Struct, frozen=True):
    """A child that was reaped. status: as wait(2) tells it; cpu_us: its own and of those it waited for."""

    status: int
    cpu_us: int
    peak_rss_kb: int


class Zygote:
    """The host's side. pid: its process, a child of the host. line: readable outside of a question when it has ended."""

    def __init__(self) -> None:
        self.line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        host = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            _live(theirs, host)
        theirs.close()

    def fork(self, descriptors: Sequence[int]) -> int:
        """The process id of a child that becomes the run whose descriptors these are (child.become_run). It stays a
        zombie until it is reaped, so that its id means nobody else. Raises OSError, ZygoteLost.
        """
        pid, *_ = self._ask(_FORK, len(descriptors), descriptors)
        return pid

    def reap(self, pid: int) -> Ended:
        """Waits for the end of a child. Raises OSError, ZygoteLost."""
        _, status, cpu_us, peak_rss_kb = self._ask(_REAP, pid)
        return Ended(status, cpu_us, peak_rss_kb)

    def _ask(self, what: int, number: int, descriptors: Sequence[int] = ()) -> tuple[int, int, int, int]:
        try:
            socket.send_fds(self.line, [_REQUEST.pack(what, number)], descriptors)
            data = self.line.recv(_ANSWER.size)
        except OSError as error:
            raise ZygoteLost(f"the zygote ended: {error.strerror}") from error
        if len(data) != _ANSWER.size:
            raise ZygoteLost("the zygote ended")
        answer: tuple[int, int, int, int] = _ANSWER.unpack(data)
        if answer[0] < 0:
            raise OSError(-answer[0], os.strerror(-answer[0]))
        return answer


def _live(line: socket.socket, host: int) -> NoReturn:
    try:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != host:
            os._exit(1)  # the host died first, and no signal will come
        # Nothing of the host's: its lines, to the executor and to us, must be seen to end with the host alone.
        kept = fcntl.fcntl(line, fcntl.F_DUPFD_CLOEXEC, TURNS + 1)
        os.closerange(3, kept)
        os.closerange(kept + 1, _HIGHEST)
        make_ready()
        gc.disable()
        _serve(socket.socket(fileno=kept))
    finally:
        os._exit(0)


def _serve(line: socket.socket) -> None:
    nothing = _occupy(TURNS)
    while True:
        data, descriptors, _, _ = socket.recv_fds(line, _REQUEST.size, _MOST_DESCRIPTORS)
        if not data:
            return
        what, number = _REQUEST.unpack(data)
        try:
            answer = _waited(number) if what == _REAP else (_child(descriptors, number, nothing), 0, 0, 0)
        except OSError as error:
            answer = (-(error.errno or 1), 0, 0, 0)
        for descriptor in descriptors:
            os.close(descriptor)
        line.send(_ANSWER.pack(*answer))


def _child(descriptors: Sequence[int], sent: int, nothing: int) -> int:
    if len(descriptors) != sent:  # the kernel drops what there is no room for, and the last one confines the child
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    zygote = os.getpid()
    pid = os.fork()
    if pid == 0:
        _bind(zygote)
        gc.enable()
        become_run(descriptors, nothing)
    return pid


def _waited(pid: int) -> tuple[int, int, int, int]:
    _, status, usage = os.wait4(pid, 0)
    return pid, status, cpu_of(usage.ru_utime, usage.ru_stime), usage.ru_maxrss


def _bind(zygote: int) -> None:
    """In the child, before anything else: a group of its own, and no life without the zygote, which has none without the
    host.
    """
    os.setsid()
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != zygote:
        os._exit(1)  # it died first, and no signal will come


def _occupy(last: int) -> int:
    """Takes every descriptor up to the last that is free; one of /dev/null above it."""
    descriptor = -1
    while descriptor <= last:
        descriptor = os.open("/dev/null", os.O_RDONLY)
    return descriptor
