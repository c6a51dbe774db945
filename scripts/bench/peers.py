"""Ourselves beside other libraries. They are a bench extra, not a dependency, with an environment of its own (`make bench
ARGS=--peers` makes it); all are measured in that one.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import uvloop

from interlock.bus.server.embedded import EmbeddedServer
from scripts.bench import hops

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / "build" / "peers" / "bin" / "python"
OURS = ("governed", "governed_every_signature")
OTHERS = ("nats-py", "faststream", "autogen")
WITHIN_S = 300


def measure(count: int) -> dict[str, float]:
    """Messages per second of each, and ours as a share of FastStream's. A peer that cannot be measured is told and left out."""
    python, figures = ENVIRONMENT if ENVIRONMENT.exists() else Path(sys.executable), dict[str, float]()
    for name in (*OURS, *OTHERS):
        with tempfile.TemporaryDirectory() as place:
            server = EmbeddedServer(Path(place))
            server.start()
            try:
                uvloop.run(hops.declare(server.url, count))
                command = [str(python), "-m", "scripts.bench.peer", name, server.url, str(count)]
                done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WITHIN_S, check=False)
            finally:
                server.stop()
        if done.returncode == 0:
            figures[f"peers.{name}"] = float(done.stdout.splitlines()[-1])
        else:
            told = done.stderr.splitlines() or [f"it ended with {done.returncode}"]
            print(f"peers.{name}: not measured ({told[-1]})")
    if "peers.faststream" in figures:
        figures |= {
            f"peers.{name}_to_faststream": figures[f"peers.{name}"] / figures["peers.faststream"] for name in OURS
        }
    return figures
