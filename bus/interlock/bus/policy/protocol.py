"""What goes over the socket between a role and its policy worker: JSON behind a length of four bytes."""

from __future__ import annotations

import socket
from typing import Any

from msgspec import Raw, Struct

from interlock.bus.policy.rego_source import Module
from interlock.envelope.verdict import Verdict

MAX_FRAME_BYTES = 64 << 20


class Start(Struct, frozen=True):
    """The first frame: what to compile."""

    modules: tuple[Module, ...]


class Started(Struct, frozen=True):
    """The answer to it. problem: why the bundle cannot be used, empty if it can."""

    problem: str = ""


class Ask(Struct, frozen=True):
    """number: repeated in the answer, so that none is taken for another's. document: the input."""

    number: int
    document: Raw


class Answer(Struct, frozen=True):
    number: int
    verdict: Verdict


def send_frame(connection: socket.socket, data: bytes) -> None:
    """Raises OSError."""
    connection.sendall(len(data).to_bytes(4, "big") + data)


def receive_frame(connection: socket.socket) -> bytes | None:
    """None at the end of the connection. Raises OSError, also for a frame longer than any of ours."""
    head = _receive(connection, 4)
    if head is None:
        return None
    size = int.from_bytes(head, "big")
    if size > MAX_FRAME_BYTES:
        raise OSError(f"a frame of {size} bytes")
    return _receive(connection, size)


def _receive(connection: socket.socket, size: int) -> bytes | None:
    parts: list[Any] = []
    while size:
        part = connection.recv(min(size, 1 << 16))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
