"""Findings: the same shape from every skill, bounded, worst first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec
from msgspec import Struct

from interlock.skills.repository.names import one_line

Severity = Literal["info", "low", "medium", "high", "critical"]
SEVERITIES: tuple[Severity, ...] = ("critical", "high", "medium", "low", "info")
MAX_TOLD = 60
MAX_TOLD_BYTES = 12_000


class Finding(Struct, frozen=True, omit_defaults=True):
    """One thing found. `blocks` stops the release. line counts from 1; 0 means none."""

    id: str
    severity: Severity
    message: str
    file: str = ""
    line: int = 0
    blocks: bool = False


def told(findings: Iterable[Finding], limit: int = MAX_TOLD) -> dict[str, Any]:
    """The parts of a skill's output: `findings` (blocking and worst first, at most `limit` and MAX_TOLD_BYTES) and
    `findingCounts` of all of them. Eight such lists go into one task's input, which has to fit an envelope.
    """
    ordered = sorted(set(findings), key=_rank)
    counts: dict[str, int] = {
        severity: sum(1 for entry in ordered if entry.severity == severity) for severity in SEVERITIES
    }
    counts["blocking"] = sum(1 for entry in ordered if entry.blocks)
    counts["total"] = len(ordered)
    plain: list[dict[str, Any]] = []
    room = MAX_TOLD_BYTES
    for entry in ordered[:limit]:
        plain.append(_plain(entry))
        room -= len(msgspec.json.encode(plain[-1]))
        if room < 0 and len(plain) > 1:
            del plain[-1]
            break
    return {"findings": plain, "findingCounts": counts}


def _rank(entry: Finding) -> tuple[bool, int, str, str, int, str]:
    return (not entry.blocks, SEVERITIES.index(entry.severity), entry.id, entry.file, entry.line, entry.message)


def _plain(entry: Finding) -> dict[str, Any]:
    plain: dict[str, Any] = {"id": entry.id, "severity": entry.severity, "message": one_line(entry.message)}
    if entry.file:
        plain["file"] = one_line(entry.file, 200)
    if entry.line:
        plain["line"] = entry.line
    return plain | {"blocks": entry.blocks}
