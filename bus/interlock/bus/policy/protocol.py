"""What goes over the socket between a role and its policy worker: JSON behind a length of four bytes."""

from __future__ import annotations

import socket
from typing import Any

import anyio
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
    return _receive(connection, _size_of(head))


async def ask_frame(connection: socket.socket, data: bytes) -> bytes | None:
    """Sends one frame and waits for one without blocking the event loop. None at the end of the connection. Raises OSError."""
    connection.setblocking(False)
    rest = memoryview(len(data).to_bytes(4, "big") + data)
    while rest:
        try:
            rest = rest[connection.send(rest) :]
        except BlockingIOError:
            await anyio.wait_writable(connection)
    received = bytearray()
    while len(received) < 4 or len(received) < 4 + _size_of(received):
        await anyio.wait_readable(connection)
        part = connection.recv(1 << 16)
        if not part:
            return None
        received += part
    return bytes(received[4:])


def _size_of(received: bytes | bytearray) -> int:
    size = int.from_bytes(received[:4], "big")
    if size > MAX_FRAME_BYTES:
        raise OSError(f"a frame of {size} bytes")
    return size


def _receive(connection: socket.socket, size: int) -> bytes | None:
    parts: list[Any] = []
    while size:
        part = connection.recv(min(size, 1 << 16))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
