"""How an execution ended, as values that a journal can hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from interlock.skills.infrastructure.target import Target

Ending = Literal["done", "rolled_back", "unknown", "refused"]


class PriorState(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What there was before: enough to go back, also after a restart of the agent.

    spec: canonical JSON. helm_release, helm_revision: of the release before an upgrade, empty and 0 where
    helm was not used.
    """

    target: Target
    spec: str
    helm_release: str = ""
    helm_revision: int = 0

    @property
    def digest(self) -> str:
        """SHA-256 of the spec's canonical bytes, in hex."""
        return hashlib.sha256(self.spec.encode()).hexdigest()


class Outcome(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """status: `done` it is as asked; `rolled_back` it was done and is as before again, byte by byte; `refused` nothing was
    done and nothing will come of it; `unknown` nobody can tell, or it is neither as asked nor as before: a human looks.

    reason: stable code, empty when done. applied: the canonical spec after the write, the only state that a rollback
    replaces. proposal: the file that was written instead (ownership by Git). dry_run: nothing was kept.
    """

    status: Ending
    target: Target
    reason: str = ""
    detail: str = ""
    prior: PriorState | None = None
    applied: str = ""
    attempts: int = 0
    proposal: str = ""
    dry_run: bool = False

    @property
    def needs_human(self) -> bool:
        """Escalate."""
        return self.status == "unknown"


def canonical_spec(item: Mapping[str, Any]) -> str:
    """An object's spec in one spelling: sorted keys, no spaces, as the server sent the values."""
    return json.dumps(item["spec"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def target_of(item: Mapping[str, Any], kind: str) -> Target:
    """The object as an operation would name it now."""
    metadata = item["metadata"]
    return Target(
        namespace=metadata["namespace"],
        kind=kind,
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
    )
