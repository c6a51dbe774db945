"""The host's keeper: a process that does nothing until the host ends, and then ends what the host had begun.

A run itself dies with its host by the kernel's death signal, but that signal does not reach what a run has forked.
The guard is forked from the host, in a session of its own, and hears of each run that may fork; the end of the pipe
says that the host is gone. If the executor is gone too, it clears away their directory.
"""

from __future__ import annotations

import os
import select
import signal
import struct
from pathlib import Path

from interlock.skills.watch.disk import remove_tree

_NOTICE_S = 0.05
_PATIENCE_S = 2.0
_RECORD = struct.Struct("=i")


class Guard:
    """The host's side. pid: the guard's process."""

    def __init__(self, place: Path, control_fd: int) -> None:
        """Forks the guard. place: the executor's directory for runs; control_fd: the host's line to the executor, which
        is its parent and which must see the line's end when the host is gone.
        """
        owner_fd = os.pidfd_open(os.getppid())
        reader, self._writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                for ending in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                    signal.signal(ending, signal.SIG_IGN)
                os.close(self._writer)
                os.close(control_fd)
                _keep(reader, owner_fd, place)
            finally:
                os._exit(0)
        os.close(reader)
        self._owner_fd = owner_fd

    def begin(self, leader: int) -> None:
        """A run that may fork has begun."""
        self._tell(leader)

    def ended(self, leader: int) -> None:
        """Nothing of that run is left."""
        self._tell(-leader)

    def dismiss(self) -> None:
        """Nothing is left to guard. Unless the executor is ending: it lets go of its line a moment before it is gone, and
        then the guard is left to remove the directory of runs.
        """
        if select.select([self._owner_fd], [], [], _NOTICE_S)[0]:
            return
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def _tell(self, record: int) -> None:
        try:
            os.write(self._writer, _RECORD.pack(record))
        except BrokenPipeError:
            return  # somebody ended the guard; the runs still die with the host


def _keep(reader: int, owner_fd: int, place: Path) -> None:
    leaders: set[int] = set()
    while record := os.read(reader, _RECORD.size):
        (leader,) = _RECORD.unpack(record)
        (leaders.add if leader > 0 else leaders.discard)(abs(leader))
    for leader in leaders:
        try:
            os.killpg(leader, signal.SIGKILL)
        except ProcessLookupError:
            continue
    if select.select([owner_fd], [], [], _PATIENCE_S)[0]:
        remove_tree(place)
