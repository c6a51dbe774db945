"""Records of the audit log and the chain they form (AUD-01). Pure.

A record is one line of canonical JSON. It names what it is about by stream, sequence, subject and the SHA-256 of the
bytes, holds its own number and the SHA-256 of the line before it, and is a leaf of the log's Merkle tree. A message of
the stream AUDIT holds some records, a line each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from interlock.bus.transport import Message
from interlock.envelope.amounts import Count, Timestamp, timestamp
from interlock.envelope.canonical import canonical
from interlock.envelope.ids import Digest, sha256_hex
from interlock.envelope.merkle import Frontier, leaf_hash

FIRST = "0" * 64  # what the first record names as the one before it
MAX_LINE_BYTES = 4096
Subject = Annotated[str, Meta(max_length=512)]


class Record(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """kind `stored`: a message of a stream; verdict: what the auditor found of a hop, `ok` or a reason code.
    kind `noted`: something that no stream holds (a purge, a start of the recorder), told in `note`.
    """

    number: Count
    previous: Digest
    kind: Literal["stored", "noted"]
    at: Timestamp
    stream: Annotated[str, Meta(max_length=64)] = ""
    sequence: Count = 0
    subject: Subject = ""
    digest: Digest = FIRST
    verdict: Annotated[str, Meta(max_length=64)] = ""
    note: dict[str, str] = field(default_factory=dict)


class ChainBroken(Exception):
    """A line that does not follow from what came before. reason: malformed, not_canonical, gap, chain_broken."""

    def __init__(self, reason: str, number: int, detail: str) -> None:
        super().__init__(f"record {number}: {detail} ({reason})")
        self.reason = reason
        self.number = number


_records = msgspec.json.Decoder(Record)


class Chain:
    """The head of a log: how many records, the hash of the last, the root, how far each stream is recorded."""

    def __init__(self) -> None:
        self.previous = FIRST
        self.positions: dict[str, int] = {}
        self._frontier = Frontier()

    def copy(self) -> Chain:
        """The same head, to go on from without changing this one."""
        twin = Chain()
        twin.previous, twin.positions, twin._frontier = self.previous, dict(self.positions), self._frontier.copy()
        return twin

    @property
    def size(self) -> int:
        return self._frontier.size

    @property
    def root(self) -> bytes:
        return self._frontier.root()

    def stored(self, stream: str, message: Message, verdict: str = "") -> bytes:
        """Appends a record of a stored message and gives its line."""
        return self._appended(
            Record(
                number=self.size,
                previous=self.previous,
                kind="stored",
                at=timestamp(message.stored_ms),
                stream=stream,
                sequence=message.sequence,
                subject=message.subject[:512],
                digest=sha256_hex(message.data),
                verdict=verdict,
            )
        )

    def noted(self, at_ms: int, note: dict[str, str]) -> bytes:
        """Appends a record of something that no stream holds."""
        record = Record(number=self.size, previous=self.previous, kind="noted", at=timestamp(at_ms), note=note)
        return self._appended(record)

    def follow(self, line: bytes) -> Record:
        """Takes over the next line of a log. Raises ChainBroken; the chain stays as it was."""
        record = parse(line, self.size)
        if record.number != self.size:
            raise ChainBroken("gap", self.size, f"expected here, found number {record.number}")
        if record.previous != self.previous:
            raise ChainBroken("chain_broken", self.size, "it does not name the hash of the record before it")
        self._advance(record, line)
        return record

    def _appended(self, record: Record) -> bytes:
        line = canonical(record)
        self._advance(record, line)
        return line

    def _advance(self, record: Record, line: bytes) -> None:
        self._frontier.append(leaf_hash(line))
        self.previous = sha256_hex(line)
        if record.kind == "stored":
            self.positions[record.stream] = max(record.sequence, self.positions.get(record.stream, 0))


def parse(line: bytes, number: int = -1) -> Record:
    """One line. Raises ChainBroken for what is no record in canonical form."""
    if len(line) > MAX_LINE_BYTES:
        raise ChainBroken("malformed", number, f"longer than {MAX_LINE_BYTES} bytes")
    try:
        record = _records.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ChainBroken("malformed", number, str(error)[:200]) from error
    if canonical(record) != line:
        raise ChainBroken("not_canonical", number, "the line is not the canonical form of what it says")
    return record


def body_of(lines: Iterable[bytes]) -> bytes:
    """What a message of AUDIT holds."""
    return b"\n".join(lines)


def lines_of(body: bytes) -> Iterator[bytes]:
    yield from body.split(b"\n")


def told(record: Record) -> dict[str, Any]:
    """For people and machines that ask."""
    plain: dict[str, Any] = msgspec.to_builtins(record)
    return {name: value for name, value in plain.items() if value not in ("", {}) and value != FIRST}
