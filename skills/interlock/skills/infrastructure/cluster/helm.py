"""Changes through the chart that owns an object, and their way back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from interlock.skills.errors import SkillsError
from interlock.skills.infrastructure import api_quantities
from interlock.skills.infrastructure.cluster.client import Cluster, Object
from interlock.skills.infrastructure.cluster.errors import Changed, ClusterError
from interlock.skills.infrastructure.cluster.fragments import NotPossible, fragment, says
from interlock.skills.infrastructure.cluster.helm_binary import Helm, HelmFailed
from interlock.skills.infrastructure.cluster.outcomes import Outcome, PriorState, canonical_spec
from interlock.skills.infrastructure.cluster.patience import Patience
from interlock.skills.infrastructure.operations import ChangeProbes, HelmUpgrade, ModifyStrategy, PatchResources, Scale

_RELEASE = re.compile(r"^[a-z0-9]([-a-z0-9.]{0,51}[a-z0-9])?$")
_PATH = re.compile(r"^[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,9}$")
_VERSION = re.compile(r"^[0-9A-Za-z.+-]{0,64}$")


async def upgrade(
    cluster: Cluster,
    operation: HelmUpgrade,
    live: Object,
    prior: PriorState,
    patience: Patience,
    *,
    dry_run: bool,
) -> Outcome:
    """Upgrades, then reads whether the object is as asked; if it is not, goes back. Raises NotPossible, ClusterError."""
    target = operation.target
    wanted = fragment(operation.change, live)
    values = values_of(operation)
    try:
        helm = Helm(cluster.kubeconfig)
        revision = await helm.revision(operation.release, target.namespace)
    except SkillsError as error:
        raise NotPossible(error.reason, str(error)) from None
    except HelmFailed as error:
        raise NotPossible("helm_failed", error.told) from None
    prior = replace(prior, helm_release=operation.release, helm_revision=revision)
    failure = ""
    try:
        await helm.upgrade(
            operation.release, operation.chart, operation.chart_version, target.namespace, values, dry_run=dry_run
        )
    except HelmFailed as error:
        failure = error.told
    if dry_run:
        status, reason = ("refused", "helm_failed") if failure else ("done", "")
        return Outcome(status=status, target=target, reason=reason, detail=failure, prior=prior, dry_run=True)  # type: ignore[arg-type]
    return await _looked_at(cluster, helm, wanted, prior, patience, failure)


def values_of(operation: HelmUpgrade) -> Object:
    """The values of the change at the chart's paths. Raises NotPossible: also for names that helm would misread."""
    named = (
        ("release", _RELEASE, operation.release),
        ("chart version", _VERSION, operation.chart_version),
        *(("values path", _PATH, one.path) for one in operation.paths),
    )
    for what, pattern, text in named:
        if not pattern.match(text):
            raise NotPossible("helm_name_refused", f"{text!r} is no {what}")
    paths = {one.field: one.path for one in operation.paths}
    values: Object = {}
    for field, value in _fields(operation.change).items():
        if field not in paths:
            raise NotPossible("helm_path_missing", f"the blueprint does not say where the chart keeps {field}")
        *above, last = paths[field].split(".")
        at = values
        for step in above:
            at = at.setdefault(step, {})
        at[last] = value
    return values


async def roll_back(cluster: Cluster, outcome: Outcome, patience: Patience) -> Outcome:
    """Back to the release's revision before the upgrade."""
    prior = outcome.prior
    if prior is None:
        return replace(outcome, status="unknown", reason="no_prior_state", detail="there is nothing to go back to")
    try:
        await Helm(cluster.kubeconfig).roll_back(prior.helm_release, prior.target.namespace, prior.helm_revision)
        failure = ""
    except (HelmFailed, SkillsError) as error:
        failure = str(error)
    try:
        live = await patience.read(lambda: _read(cluster, prior))
    except ClusterError as error:
        return replace(outcome, status="unknown", reason=error.reason, detail=f"cannot be read: {error.detail}")
    if live["metadata"]["uid"] == prior.target.uid and canonical_spec(live) == prior.spec and not failure:
        return replace(outcome, status="rolled_back", reason="", detail=f"as before: sha256 {prior.digest}")
    detail = failure or "the release is back, but the spec is not what it was"
    return replace(outcome, status="unknown", reason="helm_failed", detail=detail)


async def _looked_at(
    cluster: Cluster, helm: Helm, wanted: Mapping[str, Any], prior: PriorState, patience: Patience, failure: str
) -> Outcome:
    def ended(**what: Any) -> Outcome:
        return Outcome(target=prior.target, prior=prior, attempts=1, **what)

    try:
        live = await patience.read(lambda: _read(cluster, prior))
        revision = await helm.revision(prior.helm_release, prior.target.namespace)
    except (ClusterError, HelmFailed) as error:
        return ended(status="unknown", reason="helm_failed", detail=f"{failure} Then: {error}".strip())
    if live["metadata"]["uid"] != prior.target.uid:
        return ended(status="unknown", reason=Changed.code, detail="another object has its name now")
    if not failure and says(live, wanted):
        return ended(status="done", applied=canonical_spec(live))
    if revision == prior.helm_revision and canonical_spec(live) == prior.spec:
        return ended(status="refused", reason="helm_failed", detail=failure or "helm made no revision")
    # Half of it is there: the release has a new revision, or other fields than those asked for changed.
    halfway = ended(status="unknown", reason="helm_failed", detail=failure or "the chart does not do what was asked")
    back = await roll_back(cluster, halfway, patience)
    if back.status == "rolled_back":
        return replace(back, reason="helm_failed", detail=f"{halfway.detail}; {back.detail}")
    return replace(back, detail=f"{halfway.detail}; {back.detail}")


def _fields(change: Scale | PatchResources | ModifyStrategy | ChangeProbes) -> dict[str, Any]:
    match change:
        case Scale(replicas=replicas):
            return {"replicas": replicas}
        case PatchResources(before=before, after=after):
            found: dict[str, Any] = {}
            for field in after.__struct_fields__:
                old, new = getattr(before, field), getattr(after, field)
                spelled = api_quantities.cpu if field.endswith("_m") else api_quantities.memory
                if old != new:
                    found[field] = None if new is None else spelled(new)
            return found
        case ModifyStrategy(settings=settings):
            return {
                field: getattr(settings, field)
                for field in settings.__struct_fields__
                if getattr(settings, field) is not None
            }
        case ChangeProbes():
            raise NotPossible("helm_path_missing", "charts have no common place for probes")


async def _read(cluster: Cluster, prior: PriorState) -> Object:
    return await cluster.get(prior.target.kind, prior.target.namespace, prior.target.name)
