"""What the infrastructure agents decided, from what and by which rule: the newest of their decision logs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import msgspec
from msgspec import Struct
from starlette.responses import Response

from interlock.agents.blueprints.decision_places import noted_places
from interlock.agents.console.desk import Desk
from interlock.agents.console.figures import Figure, figure
from interlock.agents.console.pages import render, shown
from interlock.agents.console.sessions import Visit
from interlock.agents.errors import UserError
from interlock.skills.infrastructure.decision.record import DecisionRecord

if TYPE_CHECKING:
    from starlette.requests import Request

MOST_FILES = 64
MOST_RECORDS = 200
TAIL_BYTES = 2 << 20
# How an outcome looks, by the classes that goals have.
LOOKS = {
    "success": "done",
    "rolled_back": "failed",
    "blocked": "blocked",
    "rejected": "rejected",
    "unknown": "pending",
}
_HELD = b'"outcome":"held"'  # lines are canonical; inside of a string its quotes would be escaped
_records = msgspec.json.Decoder(DecisionRecord)


class Decisions(Struct, frozen=True):
    """records: newest first; unreadable: lines that are none, which the audit of their goal will tell of too."""

    records: list[DecisionRecord]
    unreadable: int


def read_decisions(directories: Sequence[Path], held: bool = True) -> Decisions:
    """The ends of the files last written; a directory that is not there holds nothing. held: also decisions to do
    nothing, which are most of them.
    """
    files = [path for directory in directories for path in directory.glob("*.jsonl") if path.is_file()]
    newest = sorted(files, key=lambda path: path.stat().st_mtime_ns, reverse=True)[:MOST_FILES]
    records: list[DecisionRecord] = []
    unreadable = 0
    for path in newest:
        for line in [line for line in _last_lines(path) if held or _HELD not in line][-MOST_RECORDS:]:
            try:
                records.append(_records.decode(line))
            except (msgspec.MsgspecError, ValueError, RecursionError):
                unreadable += 1
    records.sort(key=lambda record: record.timestamp, reverse=True)
    return Decisions(records[:MOST_RECORDS], unreadable)


def _last_lines(path: Path) -> list[bytes]:
    """Whole ones; of a file that is being written the last may be half."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL_BYTES))
        data = file.read(TAIL_BYTES)
    lines = data.split(b"\n")[:-1]
    return lines[1:] if size > TAIL_BYTES else lines


async def _decisions(desk: Desk, visit: Visit, request: Request) -> Response:
    held = "held" in request.query_params
    found = await _read(desk, held)
    return render(
        "decisions.html", desk, visit, found=found, held=held, places=_places(desk), most=MOST_RECORDS, looks=LOOKS
    )


async def _decision(desk: Desk, visit: Visit, request: Request) -> Response:
    name = str(request.path_params["name"])
    found = [one for held in (False, True) for one in (await _read(desk, held)).records if one.decision.id == name]
    if not found:
        raise UserError("unknown_decision", "there is no such decision here", "See the decision log itself", 2)
    whole: Any = msgspec.to_builtins(found[0])
    return render("decision.html", desk, visit, one=found[0], whole=whole, rows=measured(found[0]), looks=LOOKS)


class Measured(Struct, frozen=True):
    """One figure as it was seen, as it was wanted, and as it was when that had been done."""

    name: str
    seen: Figure | None
    wanted: Figure | None
    after: Figure | None


def measured(record: DecisionRecord) -> list[Measured]:
    """All figures of a record, what is to change first."""
    decision, verification = record.decision, record.verification
    after = {} if verification is None else verification.post_operation_state
    names = {**decision.target_state, **decision.current_state, **after}

    def of(state: dict[str, int], name: str) -> Figure | None:
        return figure(name, state[name]) if name in state else None

    return [
        Measured(
            figure(name, None).name, of(decision.current_state, name), of(decision.target_state, name), of(after, name)
        )
        for name in names
    ]


async def _read(desk: Desk, held: bool) -> Decisions:
    return await anyio.to_thread.run_sync(read_decisions, _places(desk), held)


def _places(desk: Desk) -> list[Path]:
    """As set, and wherever this workspace's watchers and drives have written; each once."""
    layout = desk.session.layout
    given = [layout.root / place for place in desk.settings.decisions]
    return list({place.resolve(): None for place in [*given, *noted_places(layout)]})


decisions, decision = shown(_decisions), shown(_decision)
