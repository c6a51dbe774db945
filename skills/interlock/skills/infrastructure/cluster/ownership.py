"""Who keeps an object: Argo CD or Flux write it back to what Git says, so nobody else may write it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ARGO_CD = "Argo CD"
FLUX = "Flux"

# What the tools themselves put on the objects they keep (their documentation, "resource tracking" and "labels").
_LABELS = {
    "argocd.argoproj.io/instance": ARGO_CD,
    "kustomize.toolkit.fluxcd.io/name": FLUX,
    "helm.toolkit.fluxcd.io/name": FLUX,
    "fluxcd.io/sync-gc-mark": FLUX,
}
_ANNOTATIONS = {
    "argocd.argoproj.io/tracking-id": ARGO_CD,
    "argocd.argoproj.io/installation-id": ARGO_CD,
    "kustomize.toolkit.fluxcd.io/checksum": FLUX,
    "fluxcd.io/sync-checksum": FLUX,
}
_MANAGERS = {
    "argocd-controller": ARGO_CD,
    "argocd-application-controller": ARGO_CD,
    "kustomize-controller": FLUX,
    "helm-controller": FLUX,
}


def owner_of(item: Mapping[str, Any]) -> str:
    """ARGO_CD, FLUX, or empty. A manager counts if it wrote anything but the status."""
    metadata = item.get("metadata") or {}
    for held, marks in ((metadata.get("labels"), _LABELS), (metadata.get("annotations"), _ANNOTATIONS)):
        for key in held or {}:
            if key in marks:
                return marks[key]
    for entry in metadata.get("managedFields") or []:
        if entry.get("subresource", "") != "status" and entry.get("manager") in _MANAGERS:
            return _MANAGERS[entry["manager"]]
    return ""
