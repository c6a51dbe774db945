"""One conditional write, and the truth about it afterwards. A write names the uid and the version it is for, so it can
happen once at most; whether it did is read from the object, never guessed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from interlock.skills.infrastructure.cluster.client import MERGE, STRATEGIC, Cluster, Object
from interlock.skills.infrastructure.cluster.errors import Changed, ClusterError, Missing
from interlock.skills.infrastructure.cluster.fragments import says
from interlock.skills.infrastructure.cluster.outcomes import Outcome, PriorState, canonical_spec
from interlock.skills.infrastructure.cluster.patience import Patience
from interlock.skills.infrastructure.operations import Operation, Scale
from interlock.skills.infrastructure.patches import strategic_patch

_MOST_ATTEMPTS = 4


def _conditions(prior: PriorState) -> Object:
    return {"metadata": {"uid": prior.target.uid, "resourceVersion": prior.target.resource_version}}


async def write(
    cluster: Cluster,
    operation: Operation,
    wanted: Mapping[str, Any],
    live: Mapping[str, Any],
    prior: PriorState,
    patience: Patience,
    *,
    dry_run: bool,
) -> Outcome:
    """Writes the fragment `wanted` onto `live`. dry_run: the server checks it and keeps nothing."""
    target = operation.target
    body = {**_conditions(prior), **wanted}
    applied = [strategic_patch(live["spec"], wanted["spec"])]

    async def send() -> None:
        if isinstance(operation, Scale):
            # The scale subresource needs a smaller right than the object does.
            await cluster.patch(
                target.kind, target.namespace, target.name, body, MERGE, subresource="scale", dry_run=dry_run
            )
            return
        answer = await cluster.patch(target.kind, target.namespace, target.name, body, STRATEGIC, dry_run=dry_run)
        applied[0] = answer["spec"]

    async def look() -> Object:
        return await cluster.get(target.kind, target.namespace, target.name)

    def ended(**what: Any) -> Outcome:
        return Outcome(target=target, prior=prior, dry_run=dry_run, **what)

    if dry_run:
        return await _dry(send, ended)
    return await _settle(send, look, ended, wanted, prior, applied, patience)


async def _dry(send: Callable[[], Awaitable[None]], ended: Callable[..., Outcome]) -> Outcome:
    try:
        await send()
    except ClusterError as error:
        return ended(status="refused", reason=error.reason, detail=error.detail, attempts=1)
    return ended(status="done", attempts=1)


async def _settle(
    send: Callable[[], Awaitable[None]],
    look: Callable[[], Awaitable[Object]],
    ended: Callable[..., Outcome],
    wanted: Mapping[str, Any],
    prior: PriorState,
    applied: list[Any],
    patience: Patience,
) -> Outcome:
    uncertain = False
    for attempt in range(1, _MOST_ATTEMPTS + 1):
        try:
            await send()
            return ended(status="done", applied=canonical_spec({"spec": applied[0]}), attempts=attempt)
        except ClusterError as error:
            failure = error
        uncertain = uncertain or failure.may_have_happened
        if uncertain:
            told = await _look_back(look, ended, wanted, prior, patience, attempt)
            if told is not None:
                return told
        elif not failure.retryable:
            return ended(status="refused", reason=failure.reason, detail=failure.detail, attempts=attempt)
        if attempt == _MOST_ATTEMPTS or not await patience.pause(failure.retry_after_ms):
            break
    if uncertain:
        detail = f"no certain answer after {attempt} attempts; the last: {failure.detail}"
        return ended(status="unknown", reason=failure.reason, detail=detail, attempts=attempt)
    return ended(status="refused", reason=failure.reason, detail=failure.detail, attempts=attempt)


async def _look_back(
    look: Callable[[], Awaitable[Object]],
    ended: Callable[..., Outcome],
    wanted: Mapping[str, Any],
    prior: PriorState,
    patience: Patience,
    attempts: int,
) -> Outcome | None:
    """What became of a write without an answer. None: the object is untouched, and the same conditional write may be
    sent again: of two that are for the same version, the server takes one.
    """
    try:
        live = await patience.read(look)
    except Missing:
        return ended(status="unknown", reason="object_not_found", detail="it was deleted meanwhile", attempts=attempts)
    except ClusterError as error:
        detail = f"it may have been done, and cannot be read: {error.detail}"
        return ended(status="unknown", reason=error.reason, detail=detail, attempts=attempts)
    metadata = live["metadata"]
    if metadata["uid"] != prior.target.uid:
        return ended(status="unknown", reason=Changed.code, detail="another object has its name now", attempts=attempts)
    if says(live, wanted):
        return ended(status="done", applied=canonical_spec(live), attempts=attempts)
    if metadata["resourceVersion"] == prior.target.resource_version:
        return None
    if canonical_spec(live) == prior.spec:
        # Its version moved on, so the write that got no answer can land no more.
        detail = "the write was lost, and the object's version moved on"
        return ended(status="refused", reason=Changed.code, detail=detail, attempts=attempts)
    detail = "the spec is neither as it was nor as it was asked for"
    return ended(status="unknown", reason=Changed.code, detail=detail, attempts=attempts)
