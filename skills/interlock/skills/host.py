"""The fork server: a process without secrets that forks one child for each run and watches it (agents.md).

A fresh interpreter for each run costs ten times a fork. One thread, one selector: orders come in on a socket, each run
has a pipe for what it prints and one for its result; every 20 ms the running ones are measured against their limits.
It ends when the socket closes, and takes every run with it.
"""

from __future__ import annotations

import gc
import os
import selectors
import shutil
import signal
import socket
import sys
import time
import types
from pathlib import Path

import msgspec

from interlock.skills.child import become_run
from interlock.skills.protocol import Answer, Order, Outcome, RunOrder, RunReport, StopOrder
from interlock.skills.sandbox.enter import interpreter_paths
from interlock.skills.sandbox.libc import PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG, prctl

TICK_S = 0.02
LOG_BYTES = 16 * 1024
_orders = msgspec.json.Decoder(Order)
_answers = msgspec.json.Decoder(Answer)


class Run:
    """A child on its way. verdict: why the host ended it, empty while it may go on."""

    def __init__(self, order: RunOrder, pid: int, log_fd: int, result_fd: int) -> None:
        self.order = order
        self.pid = pid
        self.pid_fd = os.pidfd_open(pid)
        self.log_fd = log_fd
        self.result_fd = result_fd
        self.began = time.monotonic()
        self.log = bytearray()
        self.printed = 0
        self.result = bytearray()
        self.verdict: tuple[Outcome, str] | None = None
        self.kill_at = self.began + order.wall_ms / 1000
        self.measured = self.began


class Host:
    """Owns all runs; `serve` returns when the executor is gone."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ, None)
        self._runs: dict[int, Run] = {}
        self._code: dict[str, tuple[int, types.CodeType]] = {}
        self._buffer = bytearray()

    def serve(self) -> None:
        while True:
            for key, _ in self._selector.select(TICK_S if self._runs else None):
                if key.data is None:
                    if not self._hear():
                        self._end_all()
                        return
                else:
                    self._read(key.data, key.fd)
            self._reap()
            self._measure()

    def _hear(self) -> bool:
        data = self._control.recv(1 << 20)
        if not data:
            return False
        self._buffer += data
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = bytearray(rest)
        for line in lines:
            order = _orders.decode(line)
            if order.run is not None:
                self._start(order.run)
            elif order.stop is not None:
                self._stop(order.stop)
        return True

    def _start(self, order: RunOrder) -> None:
        try:
            code = self._compiled(order.handler)
            Path(order.scratch).mkdir(mode=0o700)
        except (OSError, SyntaxError, ValueError) as error:
            self._report(RunReport(id=order.id, outcome="crashed", detail=f"{type(error).__name__}: {error}"[:500]))
            return
        log_read, log_write = os.pipe()
        result_read, result_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.setsid()
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self._control.close()
            self._selector.close()
            for run in self._runs.values():
                for descriptor in (run.log_fd, run.result_fd, run.pid_fd):
                    os.close(descriptor)
            os.close(log_read)
            os.close(result_read)
            become_run(order, code, result_write, log_write)
        os.close(log_write)
        os.close(result_write)
        run = Run(order, pid, log_read, result_read)
        self._runs[pid] = run
        for descriptor in (log_read, result_read):
            os.set_blocking(descriptor, False)
        for descriptor in (log_read, result_read, run.pid_fd):
            self._selector.register(descriptor, selectors.EVENT_READ, run)

    def _compiled(self, handler: str) -> types.CodeType:
        """Compiling executes nothing of the skill; doing it here once saves it in every child."""
        stamp = Path(handler).stat().st_mtime_ns
        known = self._code.get(handler)
        if known is None or known[0] != stamp:
            source = Path(handler).read_bytes()
            known = self._code[handler] = (stamp, compile(source, handler, "exec", dont_inherit=True))
        return known[1]

    def _read(self, run: Run, descriptor: int) -> None:
        if descriptor == run.pid_fd:
            return  # it has ended: reaped below
        try:
            data = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return
        if not data:
            self._selector.unregister(descriptor)
            return
        limit = run.order.output_bytes
        if descriptor == run.log_fd:
            run.printed += len(data)
            run.log = (run.log + data)[-LOG_BYTES:]
            if run.printed > max(limit, 1 << 20):
                self._kill(run, "output_too_large", f"it printed more than {max(limit, 1 << 20)} bytes")
        else:
            run.result += data
            if len(run.result) > limit + 4096:
                self._kill(run, "output_too_large", f"its result has more than {limit} bytes")

    def _measure(self) -> None:
        now = time.monotonic()
        for run in list(self._runs.values()):
            if now >= run.kill_at:
                self._kill(run, "wall_limit", f"it ran for more than {run.order.wall_ms} ms")
            elif now - run.measured >= 2 * TICK_S and run.verdict is None:
                run.measured = now
                problem = over_disk(run.order)
                if problem:
                    self._kill(run, "disk_limit", problem)
                elif run.order.processes and len(group_of(run.pid)) > run.order.processes + 1:
                    self._kill(run, "cpu_limit", f"it started more than {run.order.processes} processes")

    def _stop(self, order: StopOrder) -> None:
        for run in self._runs.values():
            if run.order.id == order.id and run.verdict is None:
                run.verdict = ("stopped", "it was stopped")
                run.kill_at = time.monotonic() + order.grace_ms / 1000
                os.killpg(run.pid, signal.SIGTERM)

    def _kill(self, run: Run, outcome: Outcome, detail: str) -> None:
        if run.verdict is None:
            run.verdict = (outcome, detail)
        try:
            os.killpg(run.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def _reap(self) -> None:
        for pid in list(self._runs):
            done, status, usage = os.wait4(pid, os.WNOHANG)
            if done:
                run = self._runs.pop(pid)
                self._finish(run, status, int((usage.ru_utime + usage.ru_stime) * 1_000_000), usage.ru_maxrss)

    def _finish(self, run: Run, status: int, cpu_us: int, peak_rss_kb: int) -> None:
        wall_ms = int((time.monotonic() - run.began) * 1000)
        if run.order.processes or not run.order.strict:
            end_group(run.pid)
        self._selector.unregister(run.pid_fd)
        os.close(run.pid_fd)
        for descriptor in (run.log_fd, run.result_fd):
            while descriptor in self._selector.get_map():
                self._read(run, descriptor)
                if not _ready(descriptor):
                    break
            if descriptor in self._selector.get_map():
                self._selector.unregister(descriptor)
            os.close(descriptor)
        outcome, detail, output = judge(run, status)
        shutil.rmtree(run.order.scratch, ignore_errors=True)
        self._report(
            RunReport(
                id=run.order.id,
                outcome=outcome,
                detail=detail,
                output=output,
                cpu_us=cpu_us,
                wall_ms=wall_ms,
                peak_rss_kb=peak_rss_kb,
                log=run.log.decode(errors="replace"),
            )
        )

    def _report(self, report: RunReport) -> None:
        try:
            self._control.sendall(msgspec.json.encode(report) + b"\n")
        except OSError:
            return  # the executor is gone; serve will see it

    def _end_all(self) -> None:
        for run in self._runs.values():
            self._kill(run, "stopped", "the executor ended")
            os.waitpid(run.pid, 0)
            shutil.rmtree(run.order.scratch, ignore_errors=True)


def judge(run: Run, status: int) -> tuple[Outcome, str, object]:
    """Outcome, detail and output from what the host decided, the child said, and how it ended. Pure."""
    if run.verdict is not None:
        return run.verdict[0], run.verdict[1], None
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        if name == "SIGXCPU":
            return "cpu_limit", f"it used more than {run.order.cpu_seconds} CPU seconds", None
        return "crashed", f"it ended by {name}", None
    try:
        answer = _answers.decode(bytes(run.result))
    except (msgspec.MsgspecError, ValueError):
        tail = run.log.decode(errors="replace").strip().splitlines()
        last = f": {tail[-1][:300]}" if tail else ""
        return "crashed", f"it ended with status {os.waitstatus_to_exitcode(status)} and no result{last}", None
    return answer.status, answer.detail, answer.output


def over_disk(order: RunOrder) -> str:
    """Empty, or what is too much in the run's directories."""
    total = count = 0
    for top in (order.scratch, order.out):
        stack = [top]
        while stack:
            try:
                entries = list(os.scandir(stack.pop()))
            except OSError:
                continue
            for entry in entries:
                count += 1
                try:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
                except OSError:
                    continue
                if total > order.scratch_bytes:
                    return f"it wrote more than {order.scratch_bytes >> 20} MB"
                if count > order.max_files:
                    return f"it made more than {order.max_files} files"
    return ""


def end_group(leader: int) -> None:
    """Kills and reaps whatever a run left behind in its group; without processes of its own it cannot leave any."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
    for pid in group_of(leader):
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            continue


def group_of(leader: int) -> list[int]:
    """Living processes of a run's process group."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                if os.getpgid(int(entry.name)) == leader:
                    found.append(int(entry.name))
            except ProcessLookupError:
                continue
    return found


def _ready(descriptor: int) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        return bool(selector.select(0))


def main() -> None:
    """`python -m interlock.skills.host FD`: serves on an inherited socket."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    control = socket.socket(fileno=int(sys.argv[1]))
    control.setblocking(True)
    interpreter_paths()
    gc.disable()
    gc.freeze()  # children share these pages for as long as nobody touches them
    Host(control).serve()


if __name__ == "__main__":
    main()
