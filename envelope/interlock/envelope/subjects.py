"""Subjects (bus.md). Every token that comes from data is allow-listed before it stands in one."""

from __future__ import annotations

from functools import lru_cache

from interlock.envelope.ids import is_token, is_uuid7

PREFIX = "interlock"
ROLES = ("orchestrator", "evaluator", "executor", "auditor", "synthesizer", "gateway", "human")
INTENTS = ("plan", "act", "observe", "escalate", "complete")


@lru_cache(maxsize=4096)
def role_subject(workspace: str, role: str, goal_id: str, intent: str) -> str:
    """`interlock.<workspace>.role.<role>.<goalId>.<intent>`; raises ValueError for a token that is not allow-listed."""
    if not (is_token(workspace) and is_token(role) and is_uuid7(goal_id) and intent in INTENTS):
        raise ValueError("workspace, role, goal id or intent is not a valid subject token")
    return f"{PREFIX}.{workspace}.role.{role}.{goal_id}.{intent}"


def workspace_subject(workspace: str, *tokens: str) -> str:
    """`interlock.<workspace>.<tokens…>`; `*` and `>` may be given for filters. Raises ValueError."""
    if not is_token(workspace):
        raise ValueError(f"not a workspace name: {workspace[:64]!r}")
    return ".".join((PREFIX, workspace, *tokens))
