"""One server per store directory: two corrupt it without complaint."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from interlock.bus.errors import ServerFailed

LOCK_NAME = "server.lock"
_POLL_S = 0.01


class StoreLock:
    """An advisory lock (flock) on a directory's lock file. The descriptor `fd` is handed on to the server, so that the
    lock lasts until both its owner and the server are gone: an owner that is killed leaves no gap in which a second
    server could start beside the dying first.
    """

    def __init__(self, directory: Path, *, patience_ms: int = 500) -> None:
        """Takes the lock; waits patience_ms for a former holder that is just ending. Raises ServerFailed."""
        self._path = directory / LOCK_NAME
        self.fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline_s = time.monotonic() + patience_ms / 1000
        try:
            while not self._try():
                if time.monotonic() > deadline_s:
                    raise ServerFailed(
                        f"store {directory} is in use by pid {self._holder()}",
                        "End that process, or give this server a store directory of its own",
                    )
                time.sleep(_POLL_S)
            os.ftruncate(self.fd, 0)
            os.pwrite(self.fd, str(os.getpid()).encode(), 0)
        except BaseException:
            os.close(self.fd)
            raise

    def release(self) -> None:
        os.close(self.fd)

    def _try(self) -> bool:
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _holder(self) -> str:
        return self._path.read_text(errors="replace")[:20].strip() or "unknown"
