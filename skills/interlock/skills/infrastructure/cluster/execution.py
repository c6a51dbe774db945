"""Does one operation to one object. Every end is one of four: done, rolled back, refused (nothing was done), unknown.

Before anything is written: the object is read, it is the one and the version that was decided on and approved, nobody else
keeps it, and its spec is captured.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from interlock.bus.clock import Clock
from interlock.skills.infrastructure.cluster import fragments, helm, proposing
from interlock.skills.infrastructure.cluster.client import Cluster, Object
from interlock.skills.infrastructure.cluster.errors import Changed, ClusterError
from interlock.skills.infrastructure.cluster.outcomes import Outcome, PriorState, canonical_spec, target_of
from interlock.skills.infrastructure.cluster.ownership import owner_of
from interlock.skills.infrastructure.cluster.patience import Patience, Sleep
from interlock.skills.infrastructure.cluster.restarting import restart
from interlock.skills.infrastructure.cluster.revisions import template_of
from interlock.skills.infrastructure.cluster.writing import write
from interlock.skills.infrastructure.operations import (
    ChangeNetworkPolicy,
    DeleteResource,
    HelmUpgrade,
    ModifySecret,
    Operation,
    RestartPods,
    RolloutUndo,
)

_FORBIDDEN = (DeleteResource, ModifySecret, ChangeNetworkPolicy)
DEADLINE_MS = 30_000


class Executor:
    """proposals: where the file goes that is made instead of a write to an object that Git keeps."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        proposals: Path,
        clock: Clock | None = None,
        sleep: Sleep | None = None,
        deadline_ms: int = DEADLINE_MS,
    ) -> None:
        self._cluster = cluster
        self._proposals = proposals
        self._timing: dict[str, Any] = {"clock": clock} | ({"sleep": sleep} if sleep else {})
        self._deadline_ms = deadline_ms

    async def execute(self, operation: Operation, *, dry_run: bool = False) -> Outcome:
        """Never raises for what a cluster can do. dry_run: the server checks it and keeps nothing."""
        target = operation.target

        def refused(reason: str, detail: str) -> Outcome:
            return Outcome(status="refused", target=target, reason=reason, detail=detail, dry_run=dry_run)

        if isinstance(operation, _FORBIDDEN):
            return refused("operation_forbidden", f"{type(operation).__name__} is done by nobody here")
        patience = Patience.of(self._deadline_ms, **self._timing)
        try:
            live = await patience.read(lambda: self._cluster.get(target.kind, target.namespace, target.name))
        except ClusterError as error:
            return refused(error.reason, error.detail)
        if why := _other_object(operation, live):
            return refused(Changed.code, why)
        prior = PriorState(target=target_of(live, target.kind), spec=canonical_spec(live))
        try:
            return await self._act(operation, live, prior, patience, dry_run=dry_run)
        except fragments.NotPossible as error:
            return refused(error.reason, error.detail)
        except ClusterError as error:  # while reading what the operation needs beside the object
            return refused(error.reason, error.detail)

    async def _act(
        self, operation: Operation, live: Object, prior: PriorState, patience: Patience, *, dry_run: bool
    ) -> Outcome:
        if owner := owner_of(live):
            return await self._propose(operation, live, prior, owner, patience, dry_run=dry_run)
        if isinstance(operation, RestartPods):
            return await restart(self._cluster, operation, live, prior, patience, dry_run=dry_run)
        if isinstance(operation, HelmUpgrade):
            return await helm.upgrade(self._cluster, operation, live, prior, patience, dry_run=dry_run)
        wanted = await self._wanted(operation, live, patience)
        return await write(self._cluster, operation, wanted, live, prior, patience, dry_run=dry_run)

    async def _wanted(self, operation: Operation, live: Object, patience: Patience) -> Object:
        if isinstance(operation, RolloutUndo):
            template = await patience.read(lambda: template_of(self._cluster, operation, live))
            return {"spec": {"template": {**template, "$patch": "replace"}}}
        return fragments.fragment(operation, live)

    async def _propose(
        self, operation: Operation, live: Object, prior: PriorState, owner: str, patience: Patience, *, dry_run: bool
    ) -> Outcome:
        change = operation.change if isinstance(operation, HelmUpgrade) else operation
        wanted = None if isinstance(change, RestartPods) else await self._wanted(change, live, patience)
        name, text = proposing.proposal(change, wanted, prior, owner)
        path = self._proposals / name
        if not dry_run:
            proposing.write(path, text)
        return Outcome(
            status="refused",
            target=operation.target,
            reason="owned_by_git",
            detail=f"{owner} keeps {operation.target}: the change is proposed for Git instead",
            prior=prior,
            proposal=str(path),
            dry_run=dry_run,
        )


def _other_object(operation: Operation, live: Object) -> str:
    """Why the object is not the one that was decided on; empty if it is. What was never read is not that."""
    target, metadata = operation.target, live["metadata"]
    if not target.uid or not target.resource_version:
        return f"{target} is named without the uid and version it was seen with"
    if metadata["uid"] != target.uid:
        return f"{target} is another object now: {metadata['uid']}, not {target.uid}"
    if metadata["resourceVersion"] != target.resource_version:
        return f"{target} was changed since: version {metadata['resourceVersion']}, not {target.resource_version}"
    return "it is being deleted" if "deletionTimestamp" in metadata else ""
