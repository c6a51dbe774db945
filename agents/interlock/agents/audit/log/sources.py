"""What the audit log covers: every stream that holds what happened, in the order in which a check goes through them."""

from __future__ import annotations

from msgspec import Struct

from interlock.bus.streams import AUDIT, DEAD, HOPS, JOURNAL, LEDGER, kv_stream, kv_subject
from interlock.envelope.subjects import workspace_subject

PURGED = "purged"  # the event a purge is noted by, with `stream` and `before`, the first sequence that stays
RECORDED = ("deviation", "statement", "alert.>")  # of AUDIT itself: what is not the log's own
BUCKETS = ("trust", "contracts", "control", "approvals")


class Source(Struct, frozen=True):
    """A stream and the subjects of one workspace in it."""

    stream: str
    subjects: tuple[str, ...]


def sources(workspace: str) -> tuple[Source, ...]:
    """Hops, decisions and effects (journals), reservations, dead letters, deviations, and the state that governs."""
    streams = [
        Source(spec.name, (workspace_subject(workspace, kind, ">"),))
        for spec, kind in ((HOPS, "role"), (JOURNAL, "journal"), (LEDGER, "ledger"), (DEAD, "dead"))
    ]
    buckets = [
        Source(kv_stream(bucket), (kv_subject(bucket, workspace), kv_subject(bucket, f"{workspace}.>")))
        for bucket in BUCKETS
    ]
    own = Source(AUDIT.name, tuple(workspace_subject(workspace, "audit", *kind.split(".")) for kind in RECORDED))
    return (*streams, own, *buckets)


def log_subject(workspace: str) -> str:
    """Where the records are: messages of AUDIT, some lines each, appended with the expected sequence."""
    return workspace_subject(workspace, "audit", "log")


def checkpoint_subject(workspace: str) -> str:
    """Where the checkpoints are, one note each."""
    return workspace_subject(workspace, "audit", "checkpoint")


def origin_of(workspace: str) -> str:
    """The name of the workspace's log in its checkpoints."""
    return f"interlock/{workspace}"
