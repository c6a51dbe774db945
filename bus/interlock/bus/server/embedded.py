"""The embedded nats-server (BUS-09): on loopback, ports of its own choice, a locked store, gone with its owner."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

from interlock.bus.child import BoundChild
from interlock.bus.errors import ServerFailed, StoreDamaged
from interlock.bus.server.binary import find_server
from interlock.bus.server.store_lock import StoreLock

Durability = Literal["fast", "safe"]
MAX_PAYLOAD_BYTES = 1 << 20
# JetStream reserves every stream's max_bytes when it is declared; its own default, a share of the free disk, would
# refuse our declarations on a small machine although they start empty.
MAX_STORE_BYTES = 256 << 30
_START_TIMEOUT_MS = 15_000
_STOP_GRACE_MS = 5_000
_POLL_S = 0.005
_PROBE_TIMEOUT_S = 0.5
_LOG_MAX_BYTES = 4 << 20
# What nats-server's health says for good of a stream whose description it cannot read (monitor.go, healthz).
_UNREADABLE = "could not be recovered"
# No secret of the owner's environment reaches the server; these only let programs load and name the local time.
_ENV_KEPT = ("LD_LIBRARY_PATH", "TZ", "TMPDIR")


class EmbeddedServer:
    """A nats-server with JetStream, for this process's lifetime: `async with EmbeddedServer(path) as server`, or
    `start()` and `stop()` where there is no event loop. It listens on 127.0.0.1 only, in a process group of its own,
    holds a lock on store_dir, and is killed by the kernel should its owner die. In store_dir: `jetstream/` the data,
    `server.conf` as started, `server.log`.
    """

    def __init__(
        self,
        store_dir: Path | str,
        durability: Durability = "fast",
        config: str | None = None,
        *,
        start_timeout_ms: int = _START_TIMEOUT_MS,
    ) -> None:
        """durability: fast leaves writing to disk to the system (fsync every 2 minutes), safe syncs before each
        acknowledgement. config: further nats-server configuration (accounts, users); it cannot change the address,
        ports, store and payload limit.
        """
        self.store_dir = Path(store_dir).absolute()
        self.url = ""
        self.monitor_url = ""
        self._durability = durability
        self._config = config or ""
        self._start_timeout_ms = start_timeout_ms
        self._lock: StoreLock | None = None
        self._child: BoundChild | None = None
        self._log_start = 0

    @property
    def pid(self) -> int:
        """The server's process id. Raises ServerFailed when it was not started."""
        return self._running().pid

    @property
    def log_path(self) -> Path:
        return self.store_dir / "server.log"

    def start(self) -> None:
        """Starts the server and returns when it is healthy. Raises ServerFailed; nothing is left running then."""
        try:
            self._launch()
            deadline_s = self._deadline_s()
            while not self._is_ready(deadline_s):
                time.sleep(_POLL_S)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends the server (SIGTERM, SIGKILL after 5 s), reaps it and frees the store. May be called again."""
        if self._child is not None:
            self._child.stop(_STOP_GRACE_MS)
            self._child = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def terminate(self) -> None:
        """Asks the server to end in good order; `wait_died` tells when, and `restart` brings it back."""
        self._running().terminate()

    def kill(self) -> None:
        """Kills the server as a crash would; the store stays locked and `restart` brings it back."""
        self._running().kill()

    async def __aenter__(self) -> Self:
        import anyio

        try:
            await anyio.to_thread.run_sync(self._launch)
            await self._wait_ready()
        except BaseException:
            await self._stop_shielded()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop_shielded()

    async def wait_died(self) -> int:
        """The exit status (negative: a signal) once the server ended. Raises ServerFailed if never started."""
        import asyncio

        return await asyncio.wrap_future(self._running().ended)

    async def restart(self) -> None:
        """Ends the server if it still runs, and starts it on the same ports and store. Raises ServerFailed."""
        import anyio

        child = self._running()
        await anyio.to_thread.run_sync(child.stop, _STOP_GRACE_MS)
        await anyio.to_thread.run_sync(self._launch)
        await self._wait_ready()

    async def _wait_ready(self) -> None:
        import anyio

        deadline_s = self._deadline_s()
        while not await anyio.to_thread.run_sync(self._is_ready, deadline_s):
            await anyio.sleep(_POLL_S)

    async def _stop_shielded(self) -> None:
        import anyio

        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.stop)

    def _launch(self) -> None:
        binary = find_server()
        try:
            self._prepare()
            if self._lock is None:
                self._lock = StoreLock(self.store_dir)
            for stale in self._ports_dir.glob("*.ports"):  # a killed server leaves its file behind
                stale.unlink()
            config_path = self.store_dir / "server.conf"
            config_path.touch(mode=0o600)
            config_path.write_text(self._configuration())
            env = {name: os.environ[name] for name in _ENV_KEPT if name in os.environ} | self._processors()
            argv = [str(binary), "-c", str(config_path)]
            self._child = BoundChild(argv, env=env, output=self.log_path, keep_fds=[self._lock.fd], in_batches=True)
        except OSError as error:
            raise ServerFailed(
                f"cannot use store {self.store_dir}: {error.strerror or error}", "Give a directory that can be written"
            ) from error

    def _prepare(self) -> None:
        self.store_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._ports_dir.mkdir(exist_ok=True)
        self.log_path.touch(mode=0o600)
        if self.log_path.stat().st_size > _LOG_MAX_BYTES:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))
            self.log_path.touch(mode=0o600)
        self._log_start = self.log_path.stat().st_size

    def _processors(self) -> dict[str, str]:
        """Half of what there is: the roles beside it need the rest, and waking its threads for one message after another on
        every processor costs it a seventh more. Not where it waits for the disk: there one would hold up all.
        """
        if self._durability == "safe":
            return {}
        usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
        return {"GOMAXPROCS": str(max(1, len(usable) // 2))}

    def _configuration(self) -> str:
        """Ours after the caller's: in nats-server's language the last of two equal keys counts."""
        sync = "sync_interval: always" if self._durability == "safe" else ""
        return f"""{self._config}
listen: "127.0.0.1:{urlsplit(self.url).port or -1}"
http: "127.0.0.1:{urlsplit(self.monitor_url).port or -1}"
ports_file_dir: {json.dumps(str(self._ports_dir))}
max_payload: {MAX_PAYLOAD_BYTES}
jetstream {{
  store_dir: {json.dumps(str(self.store_dir))}
  max_file_store: {MAX_STORE_BYTES}
  {sync}
}}
"""

    def _is_ready(self, deadline_s: float) -> bool:
        """Raises ServerFailed when the server has ended, or is not healthy in time."""
        child = self._running()
        if child.ended.done():
            raise ServerFailed(
                f"nats-server ended with status {child.ended.result()}{self._log_tail()}", f"See {self.log_path}"
            )
        problem = self._problem(child.pid)
        if problem and time.monotonic() > deadline_s:
            damaged = _UNREADABLE in problem
            raise (StoreDamaged if damaged else ServerFailed)(
                f"nats-server is not healthy after {self._start_timeout_ms} ms: {problem}{self._log_tail()}",
                f"Put a copy of {self.store_dir} back, or move it away to begin anew; durability: safe loses nothing with "
                "the power"
                if damaged
                else f"See {self.log_path}",
            )
        return not problem

    def _problem(self, pid: int) -> str:
        """What is still missing, empty when all is well."""
        ports_path = next(self._ports_dir.glob(f"*_{pid}.ports"), None)
        if ports_path is None:
            return "it has not opened its ports"
        try:
            ports = json.loads(ports_path.read_bytes())
        except ValueError:
            return "its ports file is not complete"
        self.url, self.monitor_url = ports["nats"][0], ports["monitoring"][0]
        return health_problem(self.monitor_url)

    def _running(self) -> BoundChild:
        if self._child is None:
            raise ServerFailed("the server is not started", "Use it inside `async with`, or call start()")
        return self._child

    def _deadline_s(self) -> float:
        return time.monotonic() + self._start_timeout_ms / 1000

    @property
    def _ports_dir(self) -> Path:
        return self.store_dir / "ports"

    def _log_tail(self) -> str:
        """The last line logged since the start that complains, so that the error says why."""
        lines = self.log_path.read_bytes()[self._log_start :].decode(errors="replace").splitlines()
        told = [line for line in lines if "[FTL]" in line or "[ERR]" in line or not line.startswith("[")]
        return f": {told[-1].strip()[:300]}" if told else ""


def health_problem(monitor_url: str) -> str:
    """Asks `/healthz` once: empty when the server is healthy, else what it or the network says."""
    address = urlsplit(monitor_url)
    try:
        with socket.create_connection((address.hostname or "", address.port or 0), _PROBE_TIMEOUT_S) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            answer = b""
            while part := connection.recv(4096):
                answer += part
    except OSError as error:
        return f"/healthz: {error}"
    status, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " in status.split(b"\r\n", 1)[0]:
        return ""
    try:
        told = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        told = body[:200].decode(errors="replace").strip()
    return f"/healthz: {told}"
