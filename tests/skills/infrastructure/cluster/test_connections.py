"""What a silent peer can keep: nothing, once the cluster is left."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path

import anyio
import pytest

from interlock.skills.infrastructure.blueprint.model import MetricQuery
from interlock.skills.infrastructure.cluster.client import Cluster, open_cluster
from interlock.skills.infrastructure.cluster.errors import NoAnswer
from interlock.skills.infrastructure.cluster.prometheus import Prometheus
from interlock.skills.infrastructure.fake_cluster.certificate import write_certificate
from tests.skills.infrastructure.cluster.services import service

ANSWERS = {
    "none": b"",
    "half of one": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    "an endless one": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n",
}


class Peer:
    """Takes one connection, sends what it was told to, and never says farewell in TLS."""

    def __init__(self, directory: Path, sends: bytes) -> None:
        self.certificate = directory / "peer.crt"
        write_certificate(self.certificate, directory / "peer.key")
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.certificate, directory / "peer.key")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(20)
        self._sends = sends
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"

    def serve(self) -> None:
        """Returns when the client's socket is closed. Raises TimeoutError if it stays open."""
        with self._listener:
            accepted, _ = self._listener.accept()
        with self._context.wrap_socket(accepted, server_side=True) as secured:
            secured.recv(65_536)
            secured.sendall(self._sends)
            bare = socket.socket(fileno=secured.detach())
        with bare:
            bare.settimeout(10)
            try:
                while bare.recv(65_536):
                    pass
            except ConnectionResetError:
                pass


@pytest.fixture(params=list(ANSWERS.values()), ids=list(ANSWERS))
def peer(request: pytest.FixtureRequest, tmp_path: Path) -> Peer:
    return Peer(tmp_path, request.param)


@pytest.fixture
def served(peer: Peer) -> Iterator[Future[None]]:
    with ThreadPoolExecutor() as pool:
        yield pool.submit(peer.serve)


@pytest.mark.parametrize("use_uvloop", [False, True], ids=["asyncio", "uvloop"])
def test_no_socket_outlives_the_cluster(peer: Peer, served: Future[None], tmp_path: Path, use_uvloop: bool) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    cluster = {"server": peer.url, "certificate-authority": str(peer.certificate)}
    kubeconfig.write_text(
        json.dumps(
            {
                "current-context": "it",
                "contexts": [{"name": "it", "context": {"cluster": "it", "user": "me"}}],
                "clusters": [{"name": "it", "cluster": cluster}],
                "users": [{"name": "me", "user": {"token": "t"}}],
            }
        )
    )

    async def leave_half_way() -> None:
        async with open_cluster(kubeconfig, timeout_s=0.2) as opened:
            with pytest.raises(NoAnswer):
                await first_line(opened)
        await anyio.to_thread.run_sync(served.result)

    async def first_line(opened: Cluster) -> None:
        async with aclosing(opened.lines("/apis", {}, silence_s=0.2)) as lines:
            async for _ in lines:
                pass

    anyio.run(leave_half_way, backend_options={"use_uvloop": use_uvloop})


def test_no_socket_outlives_a_question_to_prometheus(peer: Peer, served: Future[None]) -> None:
    trust = ssl.create_default_context(cafile=str(peer.certificate))
    query = MetricQuery(metric="queue_depth", query="depth")

    async def ask() -> None:
        told = Prometheus(peer.url, timeout_s=0.2, trust=trust)
        (answer,) = await told.ask(service("shop"), [query])
        assert answer.sample is None
        assert answer.trouble
        await anyio.to_thread.run_sync(served.result)

    anyio.run(ask)
