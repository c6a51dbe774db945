"""The broker's files damaged while it is stopped: whatever the recorded streams no longer say as before, `audit check`
must find; what is still whole, it must not suspect.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio

from interlock.agents.audit.log.check import LogVerdict, auditors, check_log
from interlock.agents.audit.log.sources import origin_of, sources
from interlock.agents.supervision.house import house
from interlock.agents.workspace.keys import load_trust
from interlock.agents.workspace.layout import Layout
from interlock.bus.errors import BusError
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.server.embedded import EmbeddedServer
from interlock.bus.transport import Transport
from interlock.envelope.checkpoint import open_checkpoint
from scripts.campaigns.crew import crew
from scripts.campaigns.lines import SKILLS
from scripts.campaigns.load import WORKSPACE, Load, all_answer, audited, prepared
from scripts.campaigns.result import Result

MUST_BE = "every loss or change detected by audit check, no false alarm"
PATIENCE_S = 30.0
STREAMS = ("HOPS", "JOURNAL", "LEDGER", "AUDIT", "DEAD", "KV_trust", "KV_contracts", "KV_control")
Place = tuple[str, int]


async def campaign(root: Path, amount: int, seed: int) -> Result:
    layout, settings = prepared(root, "fast")
    async with house(layout, settings, agents=()) as place:
        with crew(root, place.url, root / "points", SKILLS):
            await all_answer(place.transport)
            load = Load(place.transport, root)
            for _ in range(3):
                await load.wait(await load.submit())
            await place.transport.publish(f"interlock.{WORKSPACE}.role.executor.x.act", b"poison")
            await anyio.sleep(2)
            await audited(place.transport, layout)
    whole = root / "whole"
    shutil.copytree(layout.store, whole)
    before, verdict = await looked_at(root / "first", whole, layout, lambda streams: None)
    failures = (
        [f"before any damage: {finding.kind} {finding.detail}" for finding in verdict.findings] if verdict else ["?"]
    )
    failures += [
        f"{name} is empty"
        for name in ("HOPS", "JOURNAL", "LEDGER", "AUDIT")
        if not any(key[0] == name for key in before)
    ]
    dice, counted = random.Random(seed), Counter[str]()
    for number in range(amount):
        kind, stream = list(DAMAGE)[number % len(DAMAGE)], dice.choice(STREAMS[: 4 + 4 * (number % 2)])
        after, found = await looked_at(root / f"trial-{number}", whole, layout, partial(harm, kind, stream, dice))
        shutil.rmtree(root / f"trial-{number}", ignore_errors=True)
        seen = found is None or not found.ok
        counted["damaged" if after != before else "harmless"] += 1
        counted["detected"] += seen
        if after != before and not seen:
            lost = sorted({key[0] for key in before.keys() | after.keys() if after.get(key) != before.get(key)})
            failures.append(f"{kind} in {stream} changed {', '.join(lost)} and was not found (number {number})")
        elif after == before and seen:
            told = "no answer" if found is None else f"{found.findings[0].kind}: {found.findings[0].detail}"
            failures.append(f"{kind} in {stream} harmed nothing, yet: {told} (number {number})")
    figures: dict[str, float] = {"messages": len(before), **counted}
    return Result(campaign="store", amount=amount, must_be=MUST_BE, figures=figures, failures=failures[:20])


def harm(kind: str, stream: str, dice: random.Random, streams: Path) -> None:
    DAMAGE[kind](streams / stream, dice)


async def looked_at(
    place: Path, whole: Path, layout: Layout, damage: Callable[[Path], None]
) -> tuple[dict[Place, tuple[str, bytes]], LogVerdict | None]:
    """What a broker says of a damaged copy, and what the check says of it; None if it could not be made."""
    shutil.copytree(whole, place, ignore=shutil.ignore_patterns("ports", "*.log"))
    damage(place / "jetstream" / "$G" / "streams")
    trust = load_trust(layout)
    known = open_checkpoint(layout.checkpoint.read_bytes(), auditors(trust), origin_of(WORKSPACE))
    async with (
        EmbeddedServer(place, "fast") as server,
        JetStreamTransport.connect(server.url, name="campaign") as transport,
    ):
        held = await everything(transport)
        try:
            with anyio.fail_after(PATIENCE_S):
                return held, await check_log(transport, WORKSPACE, trust, known=known)
        except (BusError, TimeoutError):
            return held, None


async def everything(transport: Transport) -> dict[Place, tuple[str, bytes]]:
    """All messages of the streams that the log stands for, and of its own."""
    held: dict[Place, tuple[str, bytes]] = {}
    wanted = [(source.stream, source.subjects) for source in sources(WORKSPACE)]
    for stream, subjects in [*wanted, ("AUDIT", (f"interlock.{WORKSPACE}.audit.>",))]:
        try:
            with anyio.fail_after(PATIENCE_S):
                async for message in transport.read(stream, subjects):
                    held[stream, message.sequence] = (message.subject, message.data)
        except (BusError, TimeoutError):
            held[stream, 0] = ("no such stream", b"")
    return held


def _blocks(stream: Path) -> list[Path]:
    return sorted(stream.glob("msgs/*.blk"))


def _flip(path: Path, dice: random.Random) -> None:
    data = bytearray(path.read_bytes())
    if data:
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        path.write_bytes(data)


def _flip_block(stream: Path, dice: random.Random) -> None:
    for path in _blocks(stream)[:1]:
        _flip(path, dice)


def _flip_unindexed(stream: Path, dice: random.Random) -> None:
    _without_index(stream, dice)
    _flip_block(stream, dice)


def _truncate(stream: Path, dice: random.Random) -> None:
    for path in _blocks(stream)[-1:]:
        with path.open("r+b") as file:
            file.truncate(dice.randrange(path.stat().st_size + 1))


def _truncate_unindexed(stream: Path, dice: random.Random) -> None:
    _without_index(stream, dice)
    _truncate(stream, dice)


def _zero(stream: Path, dice: random.Random) -> None:
    for path in _blocks(stream)[:1]:
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(dice.randrange(size + 1))
            file.write(bytes(min(512, max(0, size - file.tell()))))


def _without_blocks(stream: Path, dice: random.Random) -> None:
    for path in _blocks(stream):
        path.unlink()


def _without_index(stream: Path, dice: random.Random) -> None:
    (stream / "msgs" / "index.db").unlink(missing_ok=True)


def _flip_index(stream: Path, dice: random.Random) -> None:
    if (stream / "msgs" / "index.db").exists():
        _flip(stream / "msgs" / "index.db", dice)


def _without_stream(stream: Path, dice: random.Random) -> None:
    shutil.rmtree(stream, ignore_errors=True)


def _without_messages(stream: Path, dice: random.Random) -> None:
    shutil.rmtree(stream / "msgs", ignore_errors=True)


DAMAGE: dict[str, Callable[[Path, random.Random], None]] = {
    "a flipped bit": _flip_block,
    "a flipped bit, no index": _flip_unindexed,
    "a cut": _truncate,
    "a cut, no index": _truncate_unindexed,
    "a zeroed page": _zero,
    "no index": _without_index,
    "a flipped bit of the index": _flip_index,
    "no blocks": _without_blocks,
    "no messages": _without_messages,
    "no stream": _without_stream,
}
