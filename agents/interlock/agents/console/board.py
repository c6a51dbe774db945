"""The goals as one line each: folded from KV `goals`, bounded, so that a page of them costs the bus nothing."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from interlock.agents.status import BUCKET, AuditStatus, GoalStatus, decoded
from interlock.bus.kv import Entry
from interlock.bus.streams import kv_subject
from interlock.bus.transport import Message
from interlock.envelope.ids import is_uuid7

MOST_ROWS = 2_000
GOAL_LETTERS = 240


class GoalRow(Struct, frozen=True, kw_only=True):
    """One goal. audited: whether the auditor has reported, verified of hops; times RFC 3339 UTC."""

    goal_id: str
    goal: str = ""
    phase: str = ""
    outcome: str = ""
    tasks_total: int = 0
    tasks_done: int = 0
    tasks_failed: int = 0
    running: tuple[str, ...] = ()
    approvals: int = 0
    cost_usd: str = "0"
    started_at: str = ""
    updated_at: str = ""
    audited: bool = False
    hops: int = 0
    verified: int = 0

    @property
    def stands(self) -> str:
        """In one word; a goal that runs on may wait for a human all the same."""
        return self.outcome or ("approval" if self.approvals else self.phase)


class Board:
    """The newest goals by id, which holds the time it was made at."""

    def __init__(self) -> None:
        self._rows: dict[str, GoalRow] = {}

    def take(self, message: Message) -> str:
        """Folds a status or an audit in; the id of its goal, empty for what is neither."""
        key = message.subject.removeprefix(kv_subject(BUCKET, ""))
        goal_id = key.split(".")[1] if key.count(".") else ""
        if not is_uuid7(goal_id):
            return ""
        entry = Entry(key, message.data, message.sequence, message.stored_ms)
        known = self._rows.get(goal_id, GoalRow(goal_id=goal_id))
        if key.endswith(".audit"):
            audit = decoded(entry, AuditStatus)
            row = known if audit is None else replace(known, audited=True, hops=audit.hops, verified=audit.verified)
        else:
            status = decoded(entry, GoalStatus)
            row = known if status is None else _of(status, known)
        self._rows[goal_id] = row
        if len(self._rows) > MOST_ROWS:
            del self._rows[min(self._rows)]
        return goal_id

    def rows(self) -> list[GoalRow]:
        """Newest first; what only an audit is known of is none."""
        return sorted((row for row in self._rows.values() if row.phase), key=lambda row: row.goal_id, reverse=True)


def _of(status: GoalStatus, known: GoalRow) -> GoalRow:
    return replace(
        known,
        goal=status.goal[:GOAL_LETTERS],
        phase=status.phase,
        outcome=status.outcome,
        tasks_total=status.tasks_total,
        tasks_done=status.tasks_done,
        tasks_failed=status.tasks_failed,
        running=tuple(status.running[:4]),
        approvals=len(status.approvals),
        cost_usd=status.cost_usd,
        started_at=status.started_at,
        updated_at=status.updated_at,
    )
