"""The policy worker: `python -m interlock.bus.policy.worker_program FD PARENT`. Compiles once, then answers inputs one by
one until its parent ends or kills it. It has no secrets, no environment, writes no files and opens none.
"""

from __future__ import annotations

import gc
import resource
import socket
import sys
from pathlib import Path

import msgspec

from interlock.bus.child import bind_to_parent
from interlock.bus.policy.builtins import ALLOWED
from interlock.bus.policy.engine import ERROR, Engine
from interlock.bus.policy.errors import PolicyError
from interlock.bus.policy.protocol import Answer, Ask, Start, Started, receive_frame, send_frame
from interlock.envelope.verdict import deny

MEMORY_BYTES = 1 << 30


def main(arguments: list[str]) -> int:
    """Exit 0 at the end of the connection, 1 if the bundle cannot be used."""
    bind_to_parent(int(arguments[1]))
    with socket.socket(fileno=int(arguments[0])) as connection:
        return serve(connection)


def serve(connection: socket.socket) -> int:
    first = receive_frame(connection)
    if first is None:
        return 0
    try:
        engine = Engine(msgspec.json.decode(first, type=Start).modules)
        lacking = sorted(name for name in ALLOWED if not engine.knows(name))
        if lacking:
            raise PolicyError("policy_unknown_builtin", f"this engine lacks {', '.join(lacking)}")
        confine()
    except (PolicyError, ImportError) as error:
        send_frame(connection, msgspec.json.encode(Started(str(error)[:2000] or type(error).__name__)))
        return 1
    gc.collect()
    gc.freeze()  # what stays is not looked through again in the middle of a decision
    send_frame(connection, msgspec.json.encode(Started()))
    while (frame := receive_frame(connection)) is not None:
        ask = msgspec.json.decode(frame, type=Ask)
        try:
            verdict = engine.judge(msgspec.json.decode(ask.document))
        except Exception as error:  # whatever the engine stumbles over is a no
            verdict = deny(ERROR, f"{type(error).__name__}: {error}"[:300], rule="engine")
        send_frame(connection, msgspec.json.encode(Answer(ask.number, verdict)))
    return 0


def confine() -> None:
    """No files, no further descriptors, no core, and only so much memory.

    The engine's allocator has reserved 256 GiB of addresses by now: a limit below that bounds nothing of what it takes, and
    fails the next allocation of everything else. What the engine itself can take is bounded by the time of a decision.
    """
    addresses = MEMORY_BYTES + int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (addresses, addresses))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
