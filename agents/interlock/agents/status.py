"""What the world may know of a goal while it runs: kept in KV `goals`, read by CLI and console.

Two keys a goal: `<workspace>.<goalId>` written by the orchestrator, `<workspace>.<goalId>.audit` by the auditor.
"""

from __future__ import annotations

import logging
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct, field

from interlock.bus.kv import Entry, kv_get, kv_put
from interlock.bus.transport import Transport
from interlock.envelope.payloads import ArtefactRef, Finding, GateOutcome, Ground, Refusal

log = logging.getLogger("interlock.status")
BUCKET = "goals"
Phase = Literal["accepted", "planning", "review", "approval", "running", "auditing", "learning", "releasing", "ended"]


class GoalStatus(Struct, frozen=True, rename="camel", kw_only=True):
    """phase: `accepted` is not written, but shown of a goal before its orchestrator has written anything. outcome is empty
    until the phase is `ended`; approvals: ids of those that are waited for; money and carbon as
    decimal strings; times RFC 3339 UTC.
    """

    goal_id: str
    workspace: str
    goal: str
    phase: Phase
    outcome: str = ""
    tasks_total: int = 0
    tasks_done: int = 0
    tasks_failed: int = 0
    running: list[str] = field(default_factory=list)
    approvals: list[str] = field(default_factory=list)
    cost_usd: str = field(name="costUSD", default="0")
    carbon_grams: str = field(name="carbonGramsCO2", default="0")
    started_at: str = ""
    updated_at: str = ""
    deadline: str = ""
    grounds: list[Ground] = field(default_factory=list)
    gates: list[GateOutcome] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    deliverable: ArtefactRef | None = None


class AuditStatus(Struct, frozen=True, rename="camel", kw_only=True):
    """The auditor's final word on a goal's signatures (AUD-05); log: name of the signature log in `bundles`;
    truncated: there are more hops than were looked at."""

    goal_id: str
    hops: int
    verified: int
    refused: list[Refusal] = field(default_factory=list)
    log: str = ""
    at: str = ""
    truncated: bool = False


T = TypeVar("T", GoalStatus, AuditStatus)


def decoded(entry: Entry, kind: type[T]) -> T | None:
    """The value of an entry, None with a warning for one that is not of this kind or speaks of another goal."""
    try:
        value = msgspec.json.decode(entry.value, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        log.warning("%s/%s is not readable: %s", BUCKET, entry.key, error)
        return None
    if value.goal_id not in entry.key.split("."):
        log.warning("%s/%s speaks of another goal", BUCKET, entry.key)
        return None
    return value


def goal_key(workspace: str, goal_id: str) -> str:
    return f"{workspace}.{goal_id}"


async def read_status(transport: Transport, workspace: str, goal_id: str) -> GoalStatus | None:
    """None if there is none, or what is there is no status (the next write of its owner mends that)."""
    entry = await kv_get(transport, BUCKET, goal_key(workspace, goal_id))
    return None if entry is None else decoded(entry, GoalStatus)


async def write_status(transport: Transport, status: GoalStatus) -> None:
    await kv_put(transport, BUCKET, goal_key(status.workspace, status.goal_id), msgspec.json.encode(status))


async def read_audit(transport: Transport, workspace: str, goal_id: str) -> AuditStatus | None:
    """None if there is none, or what is there is none: it is audited anew then."""
    entry = await kv_get(transport, BUCKET, goal_key(workspace, goal_id) + ".audit")
    return None if entry is None else decoded(entry, AuditStatus)


async def write_audit(transport: Transport, workspace: str, status: AuditStatus) -> None:
    await kv_put(transport, BUCKET, goal_key(workspace, status.goal_id) + ".audit", msgspec.json.encode(status))
