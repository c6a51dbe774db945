"""The six roles as forks of one warm process, so that a life begins in a few hundredths of a second: campaigns end
thousands. `python scripts/campaigns/crew.py --dir DIR --nats URL --points DIR --parent PID`; each role's failpoints are
armed in POINTS/<role>.
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from interlock.agents.supervision.house import AGENTS
from interlock.bus import failpoints
from interlock.bus.child import bind_to_parent

REST_S = 0.02


@contextmanager
def crew(root: Path, url: str, points: Path, skills: Path) -> Iterator[subprocess.Popen[bytes]]:
    """All roles run and are born anew while the context lasts."""
    for agent in AGENTS:
        (points / agent).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, "--dir", root, "--nats", url, "--points", points, "--skills", skills]
    with subprocess.Popen([*map(str, command), "--parent", str(os.getpid())]) as child:
        try:
            yield child
        finally:
            child.kill()


def life(agent: str, options: argparse.Namespace) -> int:
    """Forks one; its process id."""
    pid = os.fork()
    if pid:
        return pid
    from interlock.agents.process import main

    status = 70
    try:
        run = options.dir / ".interlock" / "run"
        run.mkdir(parents=True, exist_ok=True)
        log = os.open(run / f"{agent}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        failpoints.watch(str(options.points / agent))
        arguments = ["--dir", options.dir, "--nats", options.nats, "--skills", options.skills, "--parent", os.getppid()]
        status = main([agent, *map(str, arguments)])
    finally:
        os._exit(status)


def keep(options: argparse.Namespace) -> None:
    """For ever."""
    lives = {life(agent, options): agent for agent in AGENTS}
    while True:
        pid, _ = os.wait()
        agent = lives.pop(pid, "")
        if agent:
            time.sleep(REST_S)
            lives[life(agent, options)] = agent


def warm() -> None:
    """What the roles would import one by one."""

    gc.freeze()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for flag in ("--dir", "--points", "--skills"):
        parser.add_argument(flag, type=Path, required=True)
    parser.add_argument("--nats", required=True)
    parser.add_argument("--parent", type=int, required=True)
    given = parser.parse_args()
    bind_to_parent(given.parent)
    warm()
    keep(given)
