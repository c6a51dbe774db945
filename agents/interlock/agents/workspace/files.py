"""Files that users name: read with a bound, and only what is a file. A FIFO never answers, /dev/zero never ends."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from interlock.agents.errors import UserError


def read_file(path: Path, max_bytes: int, *, exit_code: int = 2) -> bytes:
    """The content, at most max_bytes of it. Raises UserError: unreadable, not_a_file, too_large."""
    try:
        # Without O_NONBLOCK, opening a FIFO waits for somebody to write into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UserError("not_a_file", f"{path} is not a regular file", "Give the path of a file", exit_code)
            data = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        told = error.strerror if isinstance(error, OSError) else error
        raise UserError("unreadable", f"{path}: {told}", "Check the path", exit_code) from error
    if len(data) > max_bytes:
        raise UserError("too_large", f"{path} is too large", f"It may have {max_bytes} bytes", exit_code)
    return data
