"""`audit check`: the live streams held against the log, and the log against its checkpoints (AUD-01).

A value of a bucket may give way to a newer one of its key, and a purge that the log itself notes may have removed what
was old; nothing else may be missing. The broker's own promises are not enough: an administrator may delete or shrink a
stream in spite of deny_delete, and a flipped bit on disk makes a message vanish without a word.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress

from msgspec import Struct, field

from interlock.agents.audit.log.records import Chain, ChainBroken, Record, lines_of
from interlock.agents.audit.log.sources import PURGED, Source, checkpoint_subject, log_subject, origin_of, sources
from interlock.bus.catching_up import caught_up
from interlock.bus.errors import NotFound
from interlock.bus.streams import AUDIT, kv_stream
from interlock.bus.transport import Message, Transport
from interlock.envelope.checkpoint import Checkpoint, CheckpointError, open_checkpoint
from interlock.envelope.ids import sha256_hex
from interlock.envelope.trust import Trust

MAX_FINDINGS = 1_000
AUDITOR = "auditor"


class LogFinding(Struct, frozen=True, rename="camel", kw_only=True):
    """kind: no_stream; missing, changed, inserted (in a stream, against the log); malformed, not_canonical, gap, chain_broken (in
    the log); bad_checkpoint, forked, truncated (against a checkpoint).
    """

    kind: str
    detail: str
    stream: str = ""
    sequence: int = 0
    record: int | None = None


class LogVerdict(Struct, frozen=True, rename="camel", kw_only=True):
    """pending: messages of streams that are younger than the log's last record of them, per stream."""

    records: int
    checkpoints: int
    compared: dict[str, int]
    pending: dict[str, int]
    findings: list[LogFinding]
    more_findings: int = 0
    root: str = ""

    @property
    def ok(self) -> bool:
        return not self.findings


class _Findings:
    def __init__(self) -> None:
        self.found: list[LogFinding] = []
        self.more = 0

    def add(self, finding: LogFinding) -> None:
        if len(self.found) < MAX_FINDINGS:
            self.found.append(finding)
        else:
            self.more += 1


class StoredLog(Struct):
    """The log as it was read: head, records, roots at the sizes that were asked for."""

    chain: Chain
    records: list[Record] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    roots: dict[int, bytes] = field(default_factory=dict)
    broken: ChainBroken | None = None


async def check_log(
    transport: Transport, workspace: str, trust: Trust, *, known: Checkpoint | None = None
) -> LogVerdict:
    """known: a checkpoint kept elsewhere, by the auditor's own file or by a witness: shows a cut or replaced log."""
    findings = _Findings()
    checkpoints = await _checkpoints(transport, workspace, trust, findings)
    if known is not None:
        checkpoints.append(known)
    try:
        sizes = {checkpoint.size for checkpoint in checkpoints}
        stored = await caught_up(
            transport,
            lambda: read_log(transport, workspace, sizes),
            lambda stored: stored.broken is not None or stored.chain.size >= max(sizes, default=0),
        )
    except NotFound:  # told with the checkpoints, which were in the same stream
        stored = StoredLog(Chain())
    if stored.broken is not None:
        broken = stored.broken
        findings.add(LogFinding(kind=broken.reason, detail=str(broken), record=broken.number))
    for checkpoint in checkpoints:
        _hold_against(checkpoint, stored, findings)
    compared, pending = await _compare(transport, workspace, stored, findings)
    return LogVerdict(
        records=stored.chain.size,
        checkpoints=len(checkpoints),
        compared=compared,
        pending={stream: count for stream, count in pending.items() if count},
        findings=findings.found,
        more_findings=findings.more,
        root=stored.chain.root.hex(),
    )


async def read_log(transport: Transport, workspace: str, sizes: set[int] | None = None) -> StoredLog:
    """The whole log, as far as it follows from its beginning. sizes: at which to keep the root."""
    stored = StoredLog(Chain())
    messages = transport.read(AUDIT.name, [log_subject(workspace)])
    async with aclosing(messages):
        async for message in messages:
            for line in lines_of(message.data):
                try:
                    stored.records.append(stored.chain.follow(line))
                except ChainBroken as error:
                    stored.broken = error
                    return stored
                stored.lines.append(line)
                if sizes is not None and stored.chain.size in sizes:
                    stored.roots[stored.chain.size] = stored.chain.root
    return stored


async def last_checkpoint(transport: Transport, workspace: str) -> bytes | None:
    message = await transport.last(AUDIT.name, checkpoint_subject(workspace))
    return None if message is None else message.data


def auditors(trust: Trust) -> dict[str, str]:
    """Name → key of whoever may sign checkpoints: their name is the key's own text."""
    keys = [key.key_id for record in trust.store.agents if record.agent.split(".")[0] == AUDITOR for key in record.keys]
    return dict(zip(keys, keys, strict=True))


async def _checkpoints(transport: Transport, workspace: str, trust: Trust, findings: _Findings) -> list[Checkpoint]:
    known: list[Checkpoint] = []
    keys = auditors(trust)
    messages = _messages(transport, AUDIT.name, [checkpoint_subject(workspace)], findings)
    async with aclosing(messages):
        async for message in messages:
            try:
                known.append(open_checkpoint(message.data, keys, origin_of(workspace)))
            except CheckpointError as error:
                findings.add(
                    LogFinding(kind="bad_checkpoint", detail=str(error), stream=AUDIT.name, sequence=message.sequence)
                )
    return known


def _hold_against(checkpoint: Checkpoint, stored: StoredLog, findings: _Findings) -> None:
    if checkpoint.size > stored.chain.size:
        detail = f"{checkpoint.size} records were signed, {stored.chain.size} are there"
        findings.add(LogFinding(kind="truncated", detail=detail, record=stored.chain.size))
    elif checkpoint.size and stored.roots.get(checkpoint.size) != checkpoint.root:
        detail = f"the first {checkpoint.size} records are not those that were signed"
        findings.add(LogFinding(kind="forked", detail=detail, record=checkpoint.size - 1))


async def _compare(
    transport: Transport, workspace: str, stored: StoredLog, findings: _Findings
) -> tuple[dict[str, int], dict[str, int]]:
    wanted: dict[str, dict[int, Record]] = {}
    newest: dict[tuple[str, str], int] = {}
    purged: dict[str, int] = {}
    for record in stored.records:
        if record.kind == "stored":
            wanted.setdefault(record.stream, {})[record.sequence] = record
            newest[record.stream, record.subject] = record.sequence
        elif record.note.get("event") == PURGED:
            purged[record.note["stream"]] = int(record.note["before"])
    compared: dict[str, int] = {}
    pending: dict[str, int] = {}
    for source in sources(workspace):
        expected, name = wanted.get(source.stream, {}), source.stream
        last = stored.chain.positions.get(name, 0)
        if expected and transport.lag_ms:
            await _until_there(transport, name, last)
        compared[name], pending[name], gone = await _compare_source(transport, source, expected, last, findings)
        for record in gone:
            superseded = name.startswith(kv_stream("")) and newest[name, record.subject] > record.sequence
            if not superseded and record.sequence >= purged.get(name, 0):
                detail = f"{record.subject[:120]} is gone"
                findings.add(_finding("missing", detail, name, record.sequence, record.number))
    return compared, pending


async def _until_there(transport: Transport, stream: str, sequence: int) -> None:
    """Returns when the replica that answers has what was recorded last, or never will."""
    with suppress(NotFound):
        await caught_up(transport, lambda: transport.get(stream, sequence), bool)


async def _compare_source(
    transport: Transport, source: Source, expected: Mapping[int, Record], last: int, findings: _Findings
) -> tuple[int, int, list[Record]]:
    """How many messages are as recorded, how many are not recorded yet, which records have no message."""
    as_recorded = pending = 0
    left = dict(expected)
    async with aclosing(_messages(transport, source.stream, source.subjects, findings)) as messages:
        async for message in messages:
            record, place = left.pop(message.sequence, None), (source.stream, message.sequence)
            told = message.subject[:120]
            if record is None and message.sequence > last:
                pending += 1
            elif record is None:
                findings.add(_finding("inserted", f"{told} was never recorded", *place))
            elif (record.digest, record.subject) != (sha256_hex(message.data), message.subject[:512]):
                findings.add(_finding("changed", f"{told} is not what was recorded", *place, record.number))
            else:
                as_recorded += 1
    return as_recorded, pending, sorted(left.values(), key=lambda record: record.sequence)


async def _messages(
    transport: Transport, stream: str, subjects: Sequence[str], findings: _Findings
) -> AsyncGenerator[Message, None]:
    """What is stored; a stream that is gone as a whole is a finding, and does not end the check."""
    try:
        async with aclosing(transport.read(stream, subjects)) as messages:
            async for message in messages:
                yield message
    except NotFound as error:
        gone = LogFinding(kind="no_stream", detail=str(error)[:200], stream=stream)
        if gone not in findings.found:  # AUDIT holds the checkpoints and deviations: it is told once
            findings.add(gone)


def _finding(kind: str, detail: str, stream: str, sequence: int, record: int | None = None) -> LogFinding:
    return LogFinding(kind=kind, detail=detail, stream=stream, sequence=sequence, record=record)
