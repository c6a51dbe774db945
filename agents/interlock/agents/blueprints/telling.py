"""What the loop does, line by line, for people or for machines. A hold is told once, until something else is decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import msgspec

from interlock.agents.blueprints.decision_log import DecisionLog
from interlock.agents.blueprints.told import Told
from interlock.agents.blueprints.world import Event
from interlock.agents.trace.render import visible
from interlock.skills.infrastructure.decision.record import DecisionRecord, timestamp
from interlock.skills.infrastructure.telling import summary

_WIDTH = 14


class Teller:
    """json: one object a line instead of text."""

    def __init__(self, out: TextIO, *, json: bool = False) -> None:
        self._out = out
        self._json = json
        self._held: dict[str, tuple[str, ...]] = {}

    def line(self, text: str) -> None:
        """A line for people."""
        if not self._json:
            self._write(text)

    def flush(self) -> None:
        self._out.flush()

    def event(self, at_ms: int, event: Event) -> None:
        """Something happened in the simulated world."""
        if self._json:
            self._write(msgspec.json.encode({"at": timestamp(at_ms), "kind": "event", "text": event.why}).decode())
        else:
            self._write(f"{_clock(at_ms)} {'':<{_WIDTH}} --- {visible(event.why)} ---")

    def told(self, told: Told) -> None:
        """One thing that the loop says."""
        if told.kind == "look":
            return
        if told.record is not None and told.record.outcome == "held" and self._is_old(told.service, told.record):
            return
        if self._json:
            said = {"at": timestamp(told.at_ms), "service": told.service, "kind": told.kind, "text": told.text}
            record = {"record": msgspec.to_builtins(told.record)} if told.record is not None else {}
            self._write(msgspec.json.encode(said | record).decode())
            return
        what = told.kind if told.record is None else _what(told.kind, told.record)
        self._write(f"{_clock(told.at_ms)} {told.service:<{_WIDTH}} {what}")
        self._write(f"{'':<{_WIDTH + 10}}{visible(told.text)}")

    def summary(
        self, records: Sequence[DecisionRecord], place: Path, drawings: Sequence[Path], took_s: float, log: DecisionLog
    ) -> None:
        """What it came to."""
        ends = Counter((record.blueprint.name, record.outcome) for record in records)
        if self._json:
            counts: dict[str, dict[str, int]] = {}
            for (name, outcome), number in sorted(ends.items()):
                counts.setdefault(name, {})[outcome] = number
            told = {
                "kind": "summary",
                "decisions": len(records),
                "outcomes": counts,
                "log": str(place / "logs" / "agent-decisions"),
                "logHead": log.head,
                "drawings": [str(path) for path in drawings],
            }
            self._write(msgspec.json.encode(told).decode())
            return
        names = sorted({name for name, _ in ends})
        outcomes = sorted({outcome for _, outcome in ends})
        self._write("")
        self._write(f"{'':<{_WIDTH}}" + "".join(f"{outcome:>13}" for outcome in outcomes))
        for name in names:
            self._write(f"{name:<{_WIDTH}}" + "".join(f"{ends[name, outcome]:>13}" for outcome in outcomes))
        self._write(f"\n{len(records)} decisions in {place / 'logs' / 'agent-decisions'}, head {log.head[:16]}")
        for path in drawings:
            self._write(f"drawn: {path}")
        self._write(f"took {took_s:.0f} s")

    def _is_old(self, service: str, record: DecisionRecord) -> bool:
        codes = tuple(reason.code.value for reason in record.decision.reasons)
        known = self._held.get(service) == codes
        self._held[service] = codes
        return known

    def _write(self, text: str) -> None:
        self._out.write(text + "\n")
        self._out.flush()


def _what(kind: str, record: DecisionRecord) -> str:
    decision, check = record.decision, record.decision.governance_check
    if record.execution is None and check.status == "not_needed":
        return decision.type
    done = summary(record.execution.operation) if record.execution is not None else decision.type
    by = f", approved by {check.approved_by}" if check.approved_by else ""
    if kind == "executed":
        return f"{decision.type}: {done} [{check.operation}: {check.status}{by}]"
    if kind == "verified":
        return f"{record.outcome}: {done}"
    return f"{decision.type}: {done} [{check.operation}: {check.status}{by}] → {record.outcome}"


def _clock(at_ms: int) -> str:
    return timestamp(at_ms)[11:19]
