"""A child process that cannot outlive its parent: the kernel kills it when the parent ends, however the parent ends."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

# The death signal is asked for between fork and exec. A preexec_fn may deadlock once the parent has threads, so a
# small program does it and then becomes the real one: same pid, same descriptors. It looks for its parent afterwards,
# because a parent that died before prctl sends no signal any more. SIGKILL (9), since a signal that can be ignored
# or kept waiting by a stopped process promises nothing; what the child had written is safe in the page cache.
_BIND_TO_PARENT = """\
import os, sys
if sys.platform == "linux":
    import ctypes
    if ctypes.CDLL(None, use_errno=True).prctl(1, 9, 0, 0, 0) != 0:
        sys.exit("prctl(PR_SET_PDEATHSIG) failed: " + os.strerror(ctypes.get_errno()))
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the parent ended first")
try:
    os.execv(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"cannot run {sys.argv[2]}: {error}")
"""


def bind_to_parent(parent_pid: int) -> None:
    """For programs of our own: die with the parent, also if it died before this call. Exits then."""
    if sys.platform == "linux":
        import ctypes

        if ctypes.CDLL(None, use_errno=True).prctl(1, 9, 0, 0, 0) != 0 or os.getppid() != parent_pid:
            sys.exit("the parent ended first")


class BoundChild:
    """A running child in a process group of its own. pid: its process id; ended: its exit status once it is reaped,
    negative for a signal. Linux only: elsewhere the child is ended by `stop`, not by the parent's death.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        output: Path,
        keep_fds: Sequence[int] = (),
        binds_itself: bool = False,
        in_batches: bool = False,
    ) -> None:
        """Starts argv (argv[0]: an absolute path), its output appended to a file. keep_fds: descriptors that it holds
        too. binds_itself: the program calls `bind_to_parent` first thing, which saves an interpreter's start. in_batches: what
        comes to it may gather while another works, where Linux schedules it. Raises OSError.
        """
        self.ended: Future[int] = Future()
        self.ended.set_running_or_notify_cancel()  # nobody who waits for it may cancel it for the others
        shim = [] if binds_itself else [sys.executable, "-I", "-S", "-c", _BIND_TO_PARENT, str(os.getpid())]
        self._command = [*shim, *argv]
        self._env = dict(env)
        self._output = output
        self._keep_fds = tuple(keep_fds)
        self._in_batches = in_batches
        started: Future[subprocess.Popen[bytes]] = Future()
        # The death signal comes when the *thread* that started the child ends. This one does nothing but wait for the
        # child, so it lives exactly as long as it; whoever called may come and go.
        keeper = threading.Thread(target=self._keep, args=(started,), name=f"keeps {Path(argv[0]).name}", daemon=True)
        keeper.start()
        self._process = started.result()

    @property
    def pid(self) -> int:
        return self._process.pid

    def terminate(self) -> None:
        """Asks it to end (SIGTERM) without waiting; `stop` waits."""
        self._process.terminate()

    def stop(self, grace_ms: int) -> int:
        """Asks it to end (SIGTERM), kills it when it does not within grace_ms, and gives its exit status."""
        self._process.terminate()
        try:
            return self.ended.result(grace_ms / 1000)
        except TimeoutError:
            return self.kill()

    def kill(self) -> int:
        """Ends it at once (SIGKILL) and gives its exit status."""
        self._process.kill()
        return self.ended.result()

    def _keep(self, started: Future[subprocess.Popen[bytes]]) -> None:
        _schedule(in_batches=self._in_batches)
        try:
            with self._output.open("ab") as output:
                process = subprocess.Popen(
                    self._command,
                    env=self._env,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=self._keep_fds,
                    process_group=0,
                )
        except BaseException as error:  # raised where the start is awaited
            started.set_exception(error)
            return
        started.set_result(process)
        self.ended.set_result(process.wait())


def _schedule(*, in_batches: bool) -> None:
    """This thread, and with it the child that it starts. Who is woken by a message usually takes the processor from who
    sent it, and the sender's next messages come one by one; under SCHED_BATCH he does not, and finds them together.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # where it may not choose, it works all the same
            os.sched_setscheduler(0, os.SCHED_BATCH if in_batches else os.SCHED_OTHER, os.sched_param(0))
