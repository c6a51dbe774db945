"""The fork server: a process without secrets that has a child forked for each run, or for some runs of one goal and skill, and
watches it (agents.md, docs/adr/0006, 0011 and 0020).

A fresh interpreter for each run costs ten times a fork. One thread, one selector: orders come in on a socket, each child
has a pipe for what it prints and one for its results; every 20 ms the living ones are measured against their limits.
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
from contextlib import ExitStack
from pathlib import Path

import msgspec

from interlock.skills import order_file
from interlock.skills.cell import Cell, Pipes, terms_of
from interlock.skills.child import CALM, ENVIRONMENT, confinement_of, descriptors_of
from interlock.skills.protocol import Order, Outcome, RunOrder, RunReport, StopOrder
from interlock.skills.running import LOG_BYTES, Run
from interlock.skills.sandbox.enter import IsolationUnavailable, interpreter_paths, missing, rules_for
from interlock.skills.sandbox.libc import PR_SET_CHILD_SUBREAPER, prctl
from interlock.skills.watch import family
from interlock.skills.watch.disk import remove_tree
from interlock.skills.watch.guard import Guard
from interlock.skills.watch.judgement import judge, log_text, one_line, said
from interlock.skills.zygote import Zygote, ZygoteLost

TICK_S = 0.02
# How long a run waits for a process that serves its like before it has one of its own: longer than making one takes.
PATIENCE_S = 0.05
MAX_RESTING = 16
_orders = msgspec.json.Decoder(Order)


class Host:
    """Owns all runs; `serve` returns when the executor is gone."""

    def __init__(self, control: socket.socket, guard: Guard, zygote: Zygote) -> None:
        self._control = control
        self._guard = guard
        self._zygote = zygote
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ, None)
        self._selector.register(zygote.line, selectors.EVENT_READ, zygote)
        self._cells: dict[int, Cell] = {}
        self._waiting: list[tuple[float, RunOrder]] = []  # for a cell, until when at most
        self._code: dict[str, tuple[int, bytes]] = {}
        self._buffer = bytearray()

    def serve(self) -> None:
        """Raises ZygoteLost."""
        due = 0.0
        while True:
            ended = []
            for key, _ in self._selector.select(TICK_S if self._cells else None):
                if key.data is None:
                    if not self._hear():
                        self._end_all()
                        return
                elif key.data is self._zygote:
                    raise ZygoteLost("the zygote ended")
                elif key.fd == key.data.pid_fd:
                    ended.append(key.data)
                elif key.fd in self._selector.get_map():
                    self._read(key.data, key.fd)
            now = time.monotonic()
            if ended or now >= due:
                self._reap()
            for cell in ended:
                self._finish(cell)
            if now >= due:
                due = now + TICK_S
                for cell in self._cells.values():
                    cell.measure(now)
            if self._waiting:
                self._end_patience(now)

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
                self._place(order.run)
            elif order.stop is not None:
                self._stop(order.stop)
        return True

    def _place(self, order: RunOrder) -> None:
        """In a cell that serves its like and rests; behind one that is busy, for a while; or in a new one."""
        alike = self._alike(order)
        if any(cell.run is None and self._hand_over(cell, order) for cell in alike):
            return
        if any(cell.run is not None for cell in alike):
            self._waiting.append((time.monotonic() + PATIENCE_S, order))
        else:
            self._begin(order)

    def _alike(self, order: RunOrder) -> list[Cell]:
        if not order.share:
            return []
        terms = terms_of(order)
        return [cell for cell in self._cells.values() if not cell.ending and cell.terms == terms]

    def _hand_over(self, cell: Cell, order: RunOrder) -> bool:
        if cell.begin(order):
            return True
        cell.end()
        return False

    def _end_patience(self, now: float) -> None:
        waiting, self._waiting = self._waiting, []
        for until, order in waiting:
            if until <= now or not self._alike(order):
                self._begin(order)
            else:
                self._waiting.append((until, order))

    def _begin(self, order: RunOrder) -> None:
        try:
            self._start(order, self._compiled(order.handler))
        except IsolationUnavailable as error:
            self._not_begun(order, "isolation_unavailable", str(error))
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
            self._not_begun(order, "crashed", f"{type(error).__name__}: {error}")

    def _not_begun(self, order: RunOrder, outcome: Outcome, detail: str) -> None:
        _remove(order.scratch)
        self._report(RunReport(id=order.id, outcome=outcome, detail=one_line(detail)))

    def _start(self, order: RunOrder, code: bytes) -> None:
        Path(order.scratch).mkdir(mode=0o700)
        out = order.out
        with ExitStack() as ours:  # what is to be closed here unless the run begins
            with ExitStack() as theirs:
                log_read, log_write = _pipe(ours, theirs)
                result_read, result_write = _pipe(ours, theirs)
                turn_read = turn_write = -1
                if order.share:
                    out = _out_beside(order.scratch)
                    Path(out).mkdir(mode=0o700)
                    turn_write, turn_read = _pipe(ours, theirs, forwards=True)
                inside = msgspec.structs.replace(order, out=out)
                rules = rules_for(confinement_of(inside))
                if rules >= 0:
                    theirs.callback(os.close, rules)
                described = order_file.write(inside, code)
                theirs.callback(os.close, described)
                pid = self._zygote.fork(descriptors_of(described, log_write, result_write, turn_read, rules))
            ours.callback(self._give_up, pid)
            cell = Cell(order, pid, Pipes(log_read, result_read, turn_write), out)
            ours.pop_all()
        self._cells[pid] = cell
        if order.processes:
            self._guard.begin(pid)
        for descriptor in (log_read, result_read, cell.pid_fd):
            self._selector.register(descriptor, selectors.EVENT_READ, cell)

    def _give_up(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self._zygote.reap(pid)

    def _compiled(self, handler: str) -> bytes:
        """Doing it here once saves it in every child."""
        stamp = Path(handler).stat().st_mtime_ns
        known = self._code.get(handler)
        if known is None or known[0] != stamp:
            known = self._code[handler] = (stamp, order_file.compiled(Path(handler).read_bytes(), handler))
        return known[1]

    def _read(self, cell: Cell, descriptor: int) -> bool:
        """Takes what a pipe holds now; False when nothing more is to be had of it at this time."""
        try:
            data = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return False
        if not data:
            self._selector.unregister(descriptor)
            return False
        if cell.run is None:
            cell.end()  # nobody asked it
        else:
            cell.run.take(data, printed=descriptor == cell.pipes.log)
            if cell.is_shared and data.endswith(b"\n") and descriptor == cell.pipes.result:
                self._answered(cell, cell.run)
        return True

    def _answered(self, cell: Cell, run: Run) -> None:
        """A shared cell has said how its run ended: it rests, or, should it have left anything, it ends."""
        status = said(bytes(run.result))
        if run.verdict is not None or (status and status not in CALM):
            return  # it is ending
        cpu_us = cell.cpu_us - cell.charged_us
        is_over = cpu_us > run.order.cpu_seconds * 1_000_000
        peak_rss_kb = cell.peak_rss_kb() if status and not is_over else None
        if peak_rss_kb is None:
            run.answered = True
            cell.measure(time.monotonic())
            cell.end()
            return
        while self._read_log(cell):
            continue
        if run.verdict is None:
            run.cpu_us += cpu_us
            cell.rest(cpu_us)
            self._told(run, 0, peak_rss_kb)
            self._occupy_or_rest(cell)

    def _read_log(self, cell: Cell) -> bool:
        return cell.pipes.log in self._selector.get_map() and self._read(cell, cell.pipes.log)

    def _occupy_or_rest(self, cell: Cell) -> None:
        for place, (_, order) in enumerate(self._waiting):
            if cell.terms == terms_of(order):
                del self._waiting[place]
                if not self._hand_over(cell, order):
                    self._begin(order)
                return
        resting = [known for known in self._cells.values() if known.run is None and not known.ending]
        if len(resting) > MAX_RESTING:
            now = time.monotonic()
            max(resting, key=lambda known: known.rested_s(now)).end()

    def _stop(self, order: StopOrder) -> None:
        for cell in self._cells.values():
            if cell.run is not None and cell.run.order.id == order.id:
                cell.run.stop(order.grace_ms)
        stopped = [known for _, known in self._waiting if known.id == order.id]
        self._waiting = [entry for entry in self._waiting if entry[1].id != order.id]
        for known in stopped:
            self._not_begun(known, "stopped", "it was stopped")

    def _reap(self) -> None:
        """Collects what runs had forked and left, which is charged to them."""
        while (orphan := _orphan()) is not None:
            if orphan == self._zygote.pid:
                raise ZygoteLost("the zygote ended")
            group = os.getpgid(orphan)
            _, _, usage = os.wait4(orphan, 0)
            if group in self._cells:
                run = self._cells[group].run
                if run is not None:
                    run.cpu_us += family.cpu_of(usage.ru_utime, usage.ru_stime)

    def _finish(self, cell: Cell) -> None:
        """The process of a cell has ended, and whatever it was doing."""
        ended = self._zygote.reap(cell.pid)
        del self._cells[cell.pid]
        run, pipes = cell.run, cell.pipes
        if run is not None:
            run.cpu_us += max(ended.cpu_us - cell.charged_us, 0)
            if run.order.processes or not run.order.strict:
                run.cpu_us += family.end(cell.pid)
                self._guard.ended(cell.pid)
            for descriptor in (pipes.log, pipes.result):
                while descriptor in self._selector.get_map() and self._read(cell, descriptor):
                    continue
        for descriptor in (pipes.log, pipes.result, cell.pid_fd):
            if descriptor in self._selector.get_map():
                self._selector.unregister(descriptor)
            os.close(descriptor)
        if cell.is_shared:
            os.close(pipes.turns)
        if run is not None and cell.is_shared and run.verdict is None:
            _deliver(cell.out, run)
        _remove(cell.scratch)
        if run is not None:
            self._told(run, 0 if run.answered else ended.status, ended.peak_rss_kb)

    def _told(self, run: Run, status: int, peak_rss_kb: int) -> None:
        log = log_text(bytes(run.log[-LOG_BYTES:]))
        outcome, detail, output = judge(run.verdict, status, bytes(run.result), log, cpu_seconds=run.order.cpu_seconds)
        self._report(
            RunReport(
                id=run.order.id,
                outcome=outcome,
                detail=detail,
                output=output,
                cpu_us=run.cpu_us,
                wall_ms=int((time.monotonic() - run.began) * 1000),
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
        for cell in self._cells.values():
            if cell.run is not None:
                cell.run.kill("stopped", "the executor ended")
            cell.end()
            self._zygote.reap(cell.pid)
            family.end(cell.pid)
            _remove(cell.scratch)
        self._zygote.line.close()
        os.waitpid(self._zygote.pid, 0)
        self._guard.dismiss()


def _pipe(ours: ExitStack, theirs: ExitStack, *, forwards: bool = False) -> tuple[int, int]:
    """(our end, which does not block; the child's end). forwards: we write, and the child reads."""
    reader, writer = os.pipe()
    our_end, their_end = (writer, reader) if forwards else (reader, writer)
    ours.callback(os.close, our_end)
    theirs.callback(os.close, their_end)
    os.set_blocking(our_end, False)
    return our_end, their_end


def _out_beside(scratch: str) -> str:
    return f"{scratch}.out"


def _deliver(out: str, run: Run) -> None:
    """Files of a run whose process has ended: to where they were ordered. The runner saw to it that this is a rename."""
    try:
        Path(out).rename(run.order.out)
    except OSError as error:
        run.verdict = run.verdict or ("crashed", one_line(f"its files cannot be handed on: {error}"))


def _remove(scratch: str) -> None:
    remove_tree(Path(scratch))
    remove_tree(Path(_out_beside(scratch)))


def _orphan() -> int | None:
    """A child that can be reaped, still to be looked at: a run's own child whose parent is gone."""
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
    gc.freeze()  # zygote and children share these pages for as long as nobody touches them
    try:
        Host(control, guard, Zygote()).serve()
    except ZygoteLost as error:
        sys.exit(str(error))  # what had begun died with it; the executor starts another host


if __name__ == "__main__":
    main()
