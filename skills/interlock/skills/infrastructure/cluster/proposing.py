"""The Git change that is proposed where Argo CD or Flux keeps an object: a file to review and commit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from interlock.skills.infrastructure.cluster.outcomes import PriorState
from interlock.skills.infrastructure.operations import Operation

_API_VERSIONS = {"Deployment": "apps/v1", "StatefulSet": "apps/v1"}


def proposal(operation: Operation, wanted: Mapping[str, Any] | None, prior: PriorState, owner: str) -> tuple[str, str]:
    """(file name, text). wanted: the change as a fragment of the object, None if it is none (a restart). Pure; the same
    operation on the same state gives the same file.
    """
    target = prior.target
    patch = {
        "apiVersion": _API_VERSIONS.get(target.kind, "v1"),
        "kind": target.kind,
        "metadata": {"name": target.name, "namespace": target.namespace},
        **(_plain(wanted) if wanted is not None else {}),
    }
    what = type(operation).__name__
    comments = [
        f"# {owner} keeps {target}, so Interlock does not write it: what is written is written back.",
        f"# Proposed: {what}, decided on resourceVersion {target.resource_version} (spec sha256 {prior.digest[:16]}).",
        "# Use it as a patch (kustomize: patches) or make the same change in the manifest, review, commit.",
    ]
    if wanted is None:
        comments.append("# A restart is no change of the spec: it has to be done by hand.")
    text = "\n".join(comments) + "\n" + yaml.safe_dump(patch, sort_keys=False, allow_unicode=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{target.namespace}-{target.kind.lower()}-{target.name}-{digest}.yaml", text


def write(path: Path, text: str) -> None:
    """The whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)


def _plain(value: Any) -> Any:
    """Without the directives that only the API server understands."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items() if not key.startswith("$")}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value
