"""Restarts pods: deletes each by name and uid, so that its controller makes a new one. A deletion has no way back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interlock.skills.infrastructure.cluster.client import Cluster, Object
from interlock.skills.infrastructure.cluster.errors import Changed, ClusterError, Missing
from interlock.skills.infrastructure.cluster.outcomes import Outcome, PriorState
from interlock.skills.infrastructure.cluster.patience import Patience
from interlock.skills.infrastructure.cluster.pods import pods_of
from interlock.skills.infrastructure.cluster.revisions import sets_of
from interlock.skills.infrastructure.operations import RestartPods


async def restart(
    cluster: Cluster,
    operation: RestartPods,
    live: Mapping[str, Any],
    prior: PriorState,
    patience: Patience,
    *,
    dry_run: bool,
) -> Outcome:
    """Pods that are not the target's are not touched. One that is already gone counts as restarted."""
    sets = await patience.read(lambda: sets_of(cluster, operation.target.kind, live))
    held = {pod["metadata"]["name"]: pod for pod in await patience.read(lambda: pods_of(cluster, live, sets))}
    strange = [one.name for one in operation.pods if one.name not in held and not one.uid]

    def ended(**what: Any) -> Outcome:
        return Outcome(target=operation.target, prior=prior, dry_run=dry_run, applied=prior.spec, **what)

    if strange:
        return ended(status="refused", reason="pod_not_found", detail=f"no pods of {operation.target}: {strange}")
    done: list[str] = []
    for one in operation.pods:
        pod = held.get(one.name)
        if pod is None or (one.uid and pod["metadata"]["uid"] != one.uid):
            continue  # it is gone, or its successor runs: that is what was wanted
        failure = await _delete(cluster, pod, patience, dry_run=dry_run)
        if failure is not None:
            told = f"pod {one.name}: {failure.detail}; deleted before: {', '.join(done) or 'none'}"
            certain = not done and not failure.may_have_happened
            return ended(status="refused" if certain else "unknown", reason=failure.reason, detail=told)
        done.append(one.name)
    return ended(status="done", attempts=len(done))


async def _delete(cluster: Cluster, pod: Object, patience: Patience, *, dry_run: bool) -> ClusterError | None:
    """None: it is gone or going. The uid in the request keeps its successor safe, so it may be repeated."""
    metadata = pod["metadata"]
    may_have_happened = False
    while True:
        try:
            await cluster.delete("Pod", metadata["namespace"], metadata["name"], metadata["uid"], dry_run=dry_run)
            return None
        except (Missing, Changed):
            return None
        except ClusterError as error:
            may_have_happened = may_have_happened or error.may_have_happened
            if not error.retryable or not await patience.pause(error.retry_after_ms):
                error.may_have_happened = may_have_happened
                return error
