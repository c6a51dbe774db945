"""The last checkpoint, kept outside the broker: what shows that a log was cut or replaced while nobody looked."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from interlock.envelope.checkpoint import Checkpoint, CheckpointError, open_checkpoint

log = logging.getLogger("interlock.recorder")


class CheckpointMemory:
    """One file; None: nothing is remembered."""

    def __init__(self, path: Path | None, origin: str) -> None:
        self._path = path
        self._origin = origin

    def load(self, key_id: str) -> Checkpoint | None:
        """None if there is none. One that the key did not sign is worth nothing, and is told."""
        if self._path is None or not self._path.exists():
            return None
        try:
            return open_checkpoint(self._path.read_bytes(), {key_id: key_id}, self._origin)
        except (OSError, CheckpointError) as error:
            log.warning("%s: %s", self._path, error)
            return None

    def save(self, note: bytes) -> None:
        """Atomically. A disk that refuses is told: the log itself goes on."""
        if self._path is None:
            return
        partial = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            partial.write_bytes(note)
            partial.replace(self._path)
        except OSError as error:
            log.warning("%s: %s", self._path, error)
