"""How a child hears what it is to do: a file in memory that the host writes and that nobody else is given. In marshal's form, as
compiled code has no other.
"""

from __future__ import annotations

import marshal
import os
import types

from msgspec.structs import asdict

from interlock.skills.protocol import RunOrder


def compiled(handler: bytes, path: str) -> bytes:
    """The handler's code for `write`. Compiling executes nothing of the skill. Raises SyntaxError, ValueError, …"""
    return marshal.dumps(compile(handler, path, "exec", dont_inherit=True))


def write(order: RunOrder, code: bytes) -> int:
    """A descriptor for the child; the caller closes his. Raises OSError."""
    descriptor = os.memfd_create("order", os.MFD_CLOEXEC)
    try:
        left = memoryview(marshal.dumps((asdict(order), code)))
        while left:
            left = left[os.write(descriptor, left) :]
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read(descriptor: int) -> tuple[RunOrder, types.CodeType]:
    """The order and the handler's code, as this host wrote them."""
    data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    fields, code = marshal.loads(data)  # noqa: S302 - the host's own bytes
    return RunOrder(**fields), marshal.loads(code)  # noqa: S302 - as above
