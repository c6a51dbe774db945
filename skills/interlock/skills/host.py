"""The fork server: a process without secrets that forks one child for each run and watches it (agents.md).

A fresh interpreter for each run costs ten times a fork. One thread, one selector: orders come in on a socket, each run
has a pipe for what it prints and one for its result; every 20 ms the running ones are measured against their limits.
It ends when the socket closes, and takes every run with it; if it is killed, its guard does.
"""

from __future__ import annotations

import gc
import os
import selectors
import signal
import socket
import sys
import time
import types
from contextlib import ExitStack
from pathlib import Path

import msgspec

from interlock.skills.child import ENVIRONMENT, RESULT, become_run, prepare
from interlock.skills.protocol import Order, Outcome, RunOrder, RunReport, StopOrder
from interlock.skills.running import LOG_BYTES, Run
from interlock.skills.sandbox.enter import IsolationUnavailable, interpreter_paths, missing
from interlock.skills.sandbox.libc import PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG, prctl
from interlock.skills.watch import family
from interlock.skills.watch.disk import remove_tree
from interlock.skills.watch.guard import Guard
from interlock.skills.watch.judgement import judge, log_text, one_line

TICK_S = 0.02
_orders = msgspec.json.Decoder(Order)


class Host:
    """Owns all runs; `serve` returns when the executor is gone."""

    def __init__(self, control: socket.socket, guard: Guard) -> None:
        self._control = control
        self._guard = guard
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ, None)
        self._runs: dict[int, Run] = {}
        self._code: dict[str, tuple[int, types.CodeType]] = {}
        self._buffer = bytearray()
        self._nothing = _occupy(RESULT)

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
            now = time.monotonic()
            for run in self._runs.values():
                run.measure(now)

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
                self._begin(order.run)
            elif order.stop is not None:
                self._stop(order.stop)
        return True

    def _begin(self, order: RunOrder) -> None:
        try:
            self._start(order, self._compiled(order.handler))
        except IsolationUnavailable as error:
            self._not_begun(order, "isolation_unavailable", str(error))
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
            self._not_begun(order, "crashed", f"{type(error).__name__}: {error}")

    def _not_begun(self, order: RunOrder, outcome: Outcome, detail: str) -> None:
        remove_tree(Path(order.scratch))
        self._report(RunReport(id=order.id, outcome=outcome, detail=one_line(detail)))

    def _start(self, order: RunOrder, code: types.CodeType) -> None:
        Path(order.scratch).mkdir(mode=0o700)
        with ExitStack() as ours:  # what is to be closed here unless the run begins
            with ExitStack() as theirs:
                log_read, log_write = os.pipe()
                ours.callback(os.close, log_read)
                theirs.callback(os.close, log_write)
                result_read, result_write = os.pipe()
                ours.callback(os.close, result_read)
                theirs.callback(os.close, result_write)
                prepared = prepare(order, code, nothing=self._nothing, log=log_write, result=result_write)
                theirs.callback(prepared.sandbox.close)
                host = os.getpid()
                pid = os.fork()
                if pid == 0:
                    _bind(host)
                    become_run(prepared)
            ours.callback(os.kill, pid, signal.SIGKILL)
            run = Run(order, pid, log_read, result_read)
            ours.pop_all()
        self._runs[pid] = run
        if order.processes:
            self._guard.begin(pid)
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

    def _read(self, run: Run, descriptor: int) -> bool:
        """Takes what a pipe holds now; False when nothing more is to be had of it at this time."""
        if descriptor == run.pid_fd:
            return False  # it has ended: reaped below
        try:
            data = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return False
        if not data:
            self._selector.unregister(descriptor)
            return False
        run.take(descriptor, data)
        return True

    def _stop(self, order: StopOrder) -> None:
        for run in self._runs.values():
            if run.order.id == order.id:
                run.stop(order.grace_ms)

    def _reap(self) -> None:
        """Collects who has ended: runs, and what runs had forked and left, which is charged to them."""
        while (ended := _ended()) is not None:
            group = os.getpgid(ended)
            _, status, usage = os.wait4(ended, 0)
            cpu_us = family.cpu_of(usage.ru_utime, usage.ru_stime)
            run = self._runs.get(ended)
            if run is not None:
                run.cpu_us += cpu_us
                self._finish(run, status, usage.ru_maxrss)
            elif group in self._runs:
                self._runs[group].cpu_us += cpu_us

    def _finish(self, run: Run, status: int, peak_rss_kb: int) -> None:
        del self._runs[run.pid]
        wall_ms = int((time.monotonic() - run.began) * 1000)
        if run.order.processes or not run.order.strict:
            run.cpu_us += family.end(run.pid)
            self._guard.ended(run.pid)
        for descriptor in (run.log_fd, run.result_fd):
            while descriptor in self._selector.get_map() and self._read(run, descriptor):
                continue
        for descriptor in (run.log_fd, run.result_fd, run.pid_fd):
            if descriptor in self._selector.get_map():
                self._selector.unregister(descriptor)
            os.close(descriptor)
        log = log_text(bytes(run.log[-LOG_BYTES:]))
        outcome, detail, output = judge(run.verdict, status, bytes(run.result), log, cpu_seconds=run.order.cpu_seconds)
        remove_tree(Path(run.order.scratch))
        self._report(
            RunReport(
                id=run.order.id,
                outcome=outcome,
                detail=detail,
                output=output,
                cpu_us=run.cpu_us,
                wall_ms=wall_ms,
                peak_rss_kb=peak_rss_kb,
                log=log,
            )
        )

    def _report(self, report: RunReport) -> None:
        try:
            self._control.sendall(msgspec.json.encode(report) + b"\n")
        except OSError:
            return  # the executor is gone; serve will see it

    def _end_all(self) -> None:
        for run in self._runs.values():
            run.kill("stopped", "the executor ended")
            os.waitpid(run.pid, 0)
            family.end(run.pid)
            remove_tree(Path(run.order.scratch))
        self._guard.dismiss()


def _bind(host: int) -> None:
    """In the child, before anything else: a group of its own, and no life without the host."""
    os.setsid()
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != host:
        os._exit(1)  # the host died first, and no signal will come


def _occupy(last: int) -> int:
    """Takes every descriptor up to the last that is free; one of /dev/null above it."""
    descriptor = -1
    while descriptor <= last:
        descriptor = os.open("/dev/null", os.O_RDONLY)
    return descriptor


def _ended() -> int | None:
    """A child that can be reaped, still to be looked at."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid


def main() -> None:
    """`python -m interlock.skills.host FD DIRECTORY`: serves on an inherited socket; the directory is that of all runs."""
    descriptor, place = int(sys.argv[1]), Path(sys.argv[2])
    os.environ.clear()
    os.environ.update(ENVIRONMENT)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.dont_write_bytecode = True
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    control = socket.socket(fileno=descriptor)
    control.setblocking(True)
    guard = Guard(place, descriptor)
    interpreter_paths()
    missing()
    gc.collect()
    gc.freeze()  # children share these pages for as long as nobody touches them
    Host(control, guard).serve()


if __name__ == "__main__":
    main()
