"""The way back: the prior spec, byte by byte, and the proof that it is there again."""

from __future__ import annotations

import json

from msgspec.structs import replace

from interlock.skills.infrastructure.cluster import helm
from interlock.skills.infrastructure.cluster.client import JSON_PATCH, Cluster, Object
from interlock.skills.infrastructure.cluster.errors import Changed, ClusterError, Missing
from interlock.skills.infrastructure.cluster.outcomes import Ending, Outcome, PriorState, canonical_spec
from interlock.skills.infrastructure.cluster.patience import Patience

WITHIN_MS = 60_000
_POLL_MS = 1_000


async def roll_back(cluster: Cluster, outcome: Outcome, patience: Patience) -> Outcome:
    """Puts the prior spec of a done outcome back. Only what that outcome left is replaced: what somebody else has written
    since is not, and then the end is `unknown`.
    """
    prior = outcome.prior
    if prior is None or not outcome.applied:
        return _end(outcome, "unknown", "no_prior_state", "there is nothing to go back to")
    if prior.helm_revision:
        return await helm.roll_back(cluster, outcome, patience)
    while True:
        try:
            live = await patience.read(lambda: _read(cluster, prior))
            if live["metadata"]["uid"] != prior.target.uid:
                return _end(outcome, "unknown", Changed.code, "another object has its name now")
            if canonical_spec(live) == prior.spec:
                return _end(outcome, "rolled_back", "", f"the spec is as before: sha256 {prior.digest}")
            if canonical_spec(live) != outcome.applied:
                return _end(outcome, "unknown", Changed.code, "somebody else has changed the spec since")
            await cluster.patch(*_name(prior), _replacement(live, prior), JSON_PATCH)
            continue  # what the server answers is not taken for what it keeps: read it
        except Missing:
            return _end(outcome, "unknown", Missing.code, "the object was deleted")
        except ClusterError as error:
            again = error.retryable or isinstance(error, Changed)
            if not again or not await patience.pause(error.retry_after_ms):
                return _end(outcome, "unknown", error.reason, f"the way back failed: {error.detail}")


async def recovered(cluster: Cluster, prior: PriorState, patience: Patience) -> bool:
    """Waits until the controller has brought the pods to the spec: the rollback itself is verified too."""
    while True:
        try:
            live = await patience.read(lambda: _read(cluster, prior))
        except ClusterError:
            return False
        if is_settled(live):
            return True
        if not patience.left_ms:
            return False
        await patience.wait(_POLL_MS)


def is_settled(live: Object) -> bool:
    """The controller has seen this spec, and all pods are of it and ready."""
    status, replicas = live.get("status") or {}, live["spec"].get("replicas", 1)
    seen = status.get("observedGeneration", 0) >= live["metadata"].get("generation", 0)
    counts = (status.get(field, 0) for field in ("replicas", "updatedReplicas", "readyReplicas"))
    return seen and all(count == replicas for count in counts)


def _name(prior: PriorState) -> tuple[str, str, str]:
    return prior.target.kind, prior.target.namespace, prior.target.name


async def _read(cluster: Cluster, prior: PriorState) -> Object:
    return await cluster.get(*_name(prior))


def _replacement(live: Object, prior: PriorState) -> list[Object]:
    metadata = live["metadata"]
    return [
        {"op": "replace", "path": "/metadata/uid", "value": metadata["uid"]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
        {"op": "replace", "path": "/spec", "value": json.loads(prior.spec)},
    ]


def _end(outcome: Outcome, status: Ending, reason: str, detail: str) -> Outcome:
    return replace(outcome, status=status, reason=reason, detail=detail)
