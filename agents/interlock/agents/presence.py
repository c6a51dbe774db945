"""What a role's process and those who start or ask it have in common: how it answers, how it ends, what it says last.

Apart from `process.py`, which loads a role's whole machinery: a command that starts six of them is not to load it too.
"""

from __future__ import annotations

import signal

import anyio
from msgspec import Struct

from interlock.envelope.subjects import workspace_subject

# What a role's last line begins with, if it is one about itself.
SAYS = "interlock: "
# Exit status of a supervised role that cannot start until somebody mends something (EX_CONFIG of sysexits.h).
CANNOT_START = 78


class Presence(Struct, frozen=True, rename="camel"):
    """What a running agent says of itself when it is asked."""

    agent: str
    key_id: str
    trust_version: int


def ping_subject(workspace: str, agent: str) -> str:
    """Where a running agent answers that it is there."""
    return workspace_subject(workspace, "request", "ping", *agent.split("."))


async def until_signalled() -> None:
    """Returns at SIGTERM or SIGINT."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            return
