"""An object that a chart owns is changed through its release: whoever wrote it directly would lose the change at the next
upgrade.
"""

from __future__ import annotations

from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.operations import (
    ChangeProbes,
    HelmPath,
    HelmUpgrade,
    ModifyStrategy,
    Operation,
    PatchResources,
    Scale,
)


def through_helm(blueprint: Blueprint, operation: Operation) -> Operation:
    """The operation as it is done: an upgrade of the blueprint's release for what a chart keeps, else itself. It is governed
    under the same name either way.
    """
    helm = blueprint.helm
    if helm is None or not isinstance(operation, Scale | PatchResources | ModifyStrategy | ChangeProbes):
        return operation
    return HelmUpgrade(
        target=operation.target,
        release=helm.release,
        chart=helm.chart,
        chart_version=helm.chart_version,
        change=operation,
        paths=tuple(HelmPath(field=value.field, path=value.path) for value in helm.values),
    )
