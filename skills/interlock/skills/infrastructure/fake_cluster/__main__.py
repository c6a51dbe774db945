"""The process: serves until it is told to end. Prints one line of JSON when it is ready."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import ssl
from pathlib import Path

import yaml

from interlock.bus.child import bind_to_parent
from interlock.skills.infrastructure.fake_cluster.access import ADMIN
from interlock.skills.infrastructure.fake_cluster.kinds import KINDS, NAMESPACES
from interlock.skills.infrastructure.fake_cluster.server import Server
from interlock.skills.infrastructure.fake_cluster.times import ServerClock
from interlock.skills.infrastructure.fake_cluster.wire import serve
from interlock.skills.infrastructure.fake_cluster.writing import Author

_TICK_S = 0.05
_AUTHOR = Author(manager="fake-cluster")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="fake_cluster", description="A Kubernetes API server with a simulated world.")
    parser.add_argument("--port", type=int, default=0, help="0: any free one; it is told in the ready line")
    parser.add_argument("--stepped", action="store_true", help="the clock stands until the admin steps it")
    parser.add_argument("--start-ms", type=int, help="what the clock shows at first (UTC ms)")
    parser.add_argument("--bookmark-ms", type=int, default=1_000, help="how often watches get bookmarks")
    parser.add_argument("--objects", type=Path, action="append", default=[], help="YAML of objects that are there")
    parser.add_argument("--rbac", type=Path, action="append", default=[], help="YAML of roles to be enforced")
    parser.add_argument("--certificate", type=Path, help="PEM; without one the server speaks plain HTTP")
    parser.add_argument("--key", type=Path, help="PEM")
    parser.add_argument("--parent", type=int, help="end when this process ends")
    return parser.parse_args()


def documents(paths: list[Path]) -> list[dict[str, object]]:
    """The objects of YAML files."""
    return [document for path in paths for document in yaml.safe_load_all(path.read_bytes()) if document]


async def run(options: argparse.Namespace) -> None:
    """Serves until SIGTERM. Tokens come from the environment: `INTERLOCK_FAKE_TOKENS`, JSON {token: user}."""
    tokens = json.loads(os.environ.get("INTERLOCK_FAKE_TOKENS") or json.dumps({"admin": ADMIN}))
    clock = ServerClock(stepped=options.stepped, start_ms=options.start_ms)
    server = Server(tokens=tokens, clock=clock, bookmark_s=options.bookmark_ms / 1000)
    for name in ("default", "kube-system"):
        server.writer.create(NAMESPACES, "", {"metadata": {"name": name}}, _AUTHOR)
    for document in documents(options.objects):
        kind = next(
            kind for kind in KINDS if (kind.api_version, kind.name) == (document["apiVersion"], document["kind"])
        )
        metadata = document["metadata"]
        namespace = metadata.get("namespace", "default") if isinstance(metadata, dict) else "default"
        server.writer.create(kind, namespace if kind.namespaced else "", document, _AUTHOR)
    if options.rbac:
        server.access.load(documents(options.rbac))
    server.world.settle()
    trust = None
    if options.certificate is not None:
        trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        trust.load_cert_chain(options.certificate, options.key)
    listening = await serve(server.handle, "127.0.0.1", options.port, trust)
    port = listening.sockets[0].getsockname()[1]
    os.write(1, json.dumps({"url": f"http{'s' if trust else ''}://127.0.0.1:{port}"}).encode() + b"\n")
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    while not stopped.is_set():
        if not options.stepped:
            server.world.tick()
        try:
            await asyncio.wait_for(stopped.wait(), 3600 if options.stepped else _TICK_S)
        except TimeoutError:
            continue
    listening.close()


def main() -> None:
    """Entry point."""
    options = arguments()
    if options.parent is not None:
        bind_to_parent(options.parent)
    asyncio.run(run(options))


if __name__ == "__main__":
    main()
