"""The decision log: a file per day and service with a line per decision (seed 001, `logs/agent-decisions/`).

Each line goes into a chain of digests; the head is an input of every goal that acts, so that the signed record of a goal
vouches for all lines before it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.decision.record import DecisionRecord, encode_record, read_records, timestamp

ORDERS = "orders.jsonl"


class DecisionLog:
    """Lines of one watcher, and in `orders.jsonl` what humans ordered between them; both are in the chain.

    head: SHA-256 over the head before and the line, in hex; count: how many lines.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._chain = directory / "chain.txt"
        head, _, count = self._chain.read_text().strip().partition(" ") if self._chain.is_file() else ("", "", "0")
        self.head, self.count = head or "0" * 64, int(count or 0)

    @property
    def state(self) -> dict[str, object]:
        """As a goal gets it."""
        return {"head": self.head, "count": self.count}

    def write(self, record: DecisionRecord) -> None:
        """Appends a line."""
        self._append(f"{record.blueprint.name}-{record.timestamp[:10]}.jsonl", encode_record(record) + b"\n")

    def keep_order(self, data: bytes) -> None:
        """Appends the signed order by which a human closed a breaker."""
        self._append(ORDERS, data + b"\n")

    def _append(self, name: str, line: bytes) -> None:
        with (self._directory / name).open("ab") as file:
            file.write(line)
        self.head = chained(self.head, line)
        self.count += 1
        self._chain.write_text(f"{self.head} {self.count}\n")

    def prune(self, blueprint: Blueprint, now_ms: int) -> None:
        """Deletes the days of a service that are older than its blueprint keeps."""
        oldest = timestamp(max(0, now_ms - blueprint.governance.retention_ms))[:10]
        for path in self._directory.glob(f"{blueprint.name}-????-??-??.jsonl"):
            if path.stem[-10:] < oldest:
                path.unlink()

    def put_beside(self, folder: str, name: str, data: bytes) -> Path:
        """Writes a file into a folder beside the log, and gives its path."""
        place = self._directory.parent / folder
        place.mkdir(parents=True, exist_ok=True)
        (place / Path(name).name).write_bytes(data)
        return place / Path(name).name

    def records(self) -> list[DecisionRecord]:
        """Everything that was written, by time."""
        found = [record for path in sorted(self._directory.glob("*-????-??-??.jsonl")) for record in read_records(path)]
        return sorted(found, key=lambda record: record.timestamp)


def chained(head: str, line: bytes) -> str:
    """The head after a line."""
    return hashlib.sha256(head.encode() + line).hexdigest()
