"""The policy worker as its role sees it: started when first asked, killed when it takes too long, started again then.

One question at a time. Every failure is a denial with its own code.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec
from msgspec import Struct

from interlock.bus.child import BoundChild
from interlock.bus.policy.protocol import Answer, Ask, Start, Started, ask_frame, receive_frame, send_frame
from interlock.bus.policy.rego_source import Module
from interlock.envelope.verdict import Verdict, deny

TIMEOUT, UNAVAILABLE, STALE_ANSWER = "policy_timeout", "policy_unavailable", "policy_stale_answer"
# Denials that say nothing of the input: the hop may be judged again later, and they are not remembered.
PASSING = frozenset({TIMEOUT, UNAVAILABLE, STALE_ANSWER})


class WorkerSettings(Struct, frozen=True, kw_only=True):
    """timeout_ms: for one decision, after which the worker is killed. start_ms: for starting and compiling."""

    timeout_ms: int = 1_000
    start_ms: int = 20_000


class _Running(Struct, frozen=True):
    process: BoundChild
    connection: socket.socket


class PolicyWorker:
    """Evaluates one bundle. Safe to call from several threads; they wait for each other."""

    def __init__(self, modules: Sequence[Module], settings: WorkerSettings | None = None) -> None:
        self._modules = tuple(modules)
        self._settings = settings or WorkerSettings()
        self._lock = threading.Lock()
        self._turn = anyio.Lock(fast_acquire=True)
        self._running: _Running | None = None
        self._number = 0
        self.starts = 0

    @property
    def pid(self) -> int | None:
        """Of the running child, if any."""
        running = self._running
        return running.process.pid if running else None

    def start(self) -> Verdict | None:
        """Starts it now rather than at the first question. A denial if it cannot."""
        with self._lock:
            try:
                self._started()
            except (OSError, msgspec.MsgspecError) as error:
                return self._failed(error)
        return None

    def judge(self, document: bytes) -> Verdict:
        """The verdict on an input, which is JSON. Blocks."""
        with self._lock:
            try:
                running = self._started()
                running.connection.settimeout(self._settings.timeout_ms / 1000)
                send_frame(running.connection, self._ask(document))
                return self._answered(receive_frame(running.connection))
            except (OSError, msgspec.MsgspecError) as error:
                return self._failed(error)

    async def judge_soon(self, document: bytes) -> Verdict:
        """The same in an event loop, which goes on meanwhile. A thread in between would cost as much as a simple policy, and
        waits for its turn twice. Cancelled, it waits for the answer first: an answer that nobody reads would be the next one's.
        """
        async with self._turn:
            if self._running is None or not self._lock.acquire(blocking=False):
                return await anyio.to_thread.run_sync(self.judge, document)
            try:
                frame = None
                with anyio.fail_after(self._settings.timeout_ms / 1000, shield=True):
                    frame = await ask_frame(self._running.connection, self._ask(document))
                return self._answered(frame)
            except (OSError, msgspec.MsgspecError) as error:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(self._end)
                return self._failed(error)
            finally:
                self._lock.release()

    def close(self) -> None:
        """Ends the child, if there is one. It is started again when asked again."""
        with self._lock:
            self._end()

    def _ask(self, document: bytes) -> bytes:
        self._number += 1
        return msgspec.json.encode(Ask(self._number, msgspec.Raw(document)))

    def _answered(self, frame: bytes | None) -> Verdict:
        if frame is None:
            raise ConnectionError("the policy worker ended")
        answer = msgspec.json.decode(frame, type=Answer)
        if answer.number != self._number:
            self._end()
            return deny(STALE_ANSWER, "the answer belongs to another question", rule="worker")
        return answer.verdict

    def _started(self) -> _Running:
        if self._running is not None:
            return self._running
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-I", "-m", "interlock.bus.policy.worker_program"]
        command += [str(theirs.fileno()), str(os.getpid())]
        try:
            with theirs:
                process = BoundChild(
                    command,
                    env={"LANG": "C.UTF-8"},
                    output=Path(os.devnull),
                    keep_fds=[theirs.fileno()],
                    binds_itself=True,
                )
        except BaseException:
            ours.close()
            raise
        self._running = _Running(process, ours)
        self.starts += 1
        ours.settimeout(self._settings.start_ms / 1000)
        send_frame(ours, msgspec.json.encode(Start(self._modules)))
        frame = receive_frame(ours)
        if frame is None:
            raise ConnectionError("the policy worker did not start")
        problem = msgspec.json.decode(frame, type=Started).problem
        if problem:
            raise ConnectionError(problem)
        return self._running

    def _failed(self, error: Exception) -> Verdict:
        self._end()
        if isinstance(error, TimeoutError):
            return deny(TIMEOUT, f"no decision within {self._settings.timeout_ms} ms", rule="worker")
        return deny(UNAVAILABLE, f"no decision: {error}"[:500], rule="worker")

    def _end(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.connection.close()
            running.process.kill()
