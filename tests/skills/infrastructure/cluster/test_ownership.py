from __future__ import annotations

from typing import Any

import pytest

from interlock.skills.infrastructure.cluster.ownership import ARGO_CD, FLUX, owner_of


def managed(manager: str, **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"managedFields": [{"manager": "kubectl", "operation": "Update"}, {"manager": manager, **more}]}
    }


@pytest.mark.parametrize(
    ("item", "owner"),
    [
        ({"metadata": {"labels": {"argocd.argoproj.io/instance": "shop"}}}, ARGO_CD),
        ({"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/web"}}}, ARGO_CD),
        ({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": "shop"}}}, FLUX),
        ({"metadata": {"labels": {"helm.toolkit.fluxcd.io/name": "shop"}}}, FLUX),
        ({"metadata": {"annotations": {"fluxcd.io/sync-checksum": "1"}}}, FLUX),
        (managed("argocd-controller", operation="Apply"), ARGO_CD),
        (managed("kustomize-controller", operation="Apply"), FLUX),
        (managed("helm-controller", operation="Update"), FLUX),
        (managed("argocd-controller", operation="Update", subresource="status"), ""),
        (managed("kube-controller-manager", operation="Update"), ""),
        ({"metadata": {"labels": {"app.kubernetes.io/instance": "shop", "app.kubernetes.io/managed-by": "Helm"}}}, ""),
        ({"metadata": {"labels": None, "annotations": None, "managedFields": None}}, ""),
        ({}, ""),
    ],
)
def test_who_keeps_an_object(item: dict[str, Any], owner: str) -> None:
    assert owner_of(item) == owner
