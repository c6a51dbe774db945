"""Kubernetes objects for the workloads of a repository."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from interlock.bus.yaml12 import load_yaml
from interlock.skills.release.documents import yaml_text
from interlock.skills.release.workloads import Workload, workloads
from interlock.skills.repository.findings import Finding, told
from interlock.skills.repository.given import context_of
from interlock.skills.repository.model import Context
from interlock.skills.sdk import Task


class Share(Struct, frozen=True, forbid_unknown_fields=True):
    replicas: int
    cpu_request: str
    cpu_limit: str
    memory_request: str
    memory_limit: str


class Defaults(Struct, frozen=True, forbid_unknown_fields=True):
    """config/deployment.yaml."""

    service: Share
    worker: Share
    job: Share
    max_workloads: int


def run(task: Task) -> dict[str, Any]:
    context = context_of(task)
    path = task.config / "deployment.yaml"
    defaults = msgspec.convert(load_yaml(path.read_bytes(), source=path.name).value, Defaults)
    found = workloads(context, defaults.max_workloads)
    items = [item for workload in found for item in _objects(workload, context, defaults)]
    manifest = {"apiVersion": "v1", "kind": "List", "items": items}
    (task.out / "deployment_manifest.yaml").write_text(yaml_text(manifest), encoding="utf-8")
    return {
        "workloads": [{"name": w.name, "kind": w.kind, "port": w.port, "toldBy": w.told_by} for w in found],
        "objects": len(items),
        "image": found[0].image if found else "",
        **told(_findings(found, context)),
    }


def _findings(found: list[Workload], context: Context) -> list[Finding]:
    findings = [
        Finding("deployment-assumed", "info", f"{w.name}: {why}", w.told_by) for w in found for why in w.assumed
    ]
    if not found:
        findings.append(Finding("nothing-to-run", "info", "no entry point found: a library is published, not deployed"))
    if found and "container" not in context.infrastructure:
        message = f"there is no Dockerfile; the image {found[0].image} has to be built by other means"
        findings.append(Finding("no-dockerfile", "low", message))
    existing = context.infrastructure.get("kubernetes", []) + context.infrastructure.get("helm", [])
    if existing:
        message = (
            f"the repository has Kubernetes files of its own ({len(existing)}); this manifest does not replace them"
        )
        findings.append(Finding("own-manifests", "info", message, existing[0]))
    return findings


def _objects(workload: Workload, context: Context, defaults: Defaults) -> list[dict[str, Any]]:
    share: Share = getattr(defaults, workload.kind)
    labels = {"app.kubernetes.io/name": workload.name, "app.kubernetes.io/part-of": workload.image.partition(":")[0]}
    meta = {
        "name": workload.name,
        "labels": {**labels, "app.kubernetes.io/version": workload.image.partition(":")[2][:63].rstrip(".-_")},
        "annotations": {"interlock/content-sha256": context.digest, "interlock/told-by": workload.told_by},
    }
    template = {"metadata": {"labels": meta["labels"]}, "spec": _pod(workload, share)}
    if workload.kind == "job":
        spec = {"suspend": True, "backoffLimit": 0, "template": template}
        return [{"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec}]
    selector = {"matchLabels": {"app.kubernetes.io/name": workload.name}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {
            "replicas": share.replicas,
            "selector": selector,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": template,
        },
    }
    return [deployment, *_network(workload, meta, selector, share)]


def _pod(workload: Workload, share: Share) -> dict[str, Any]:
    container: dict[str, Any] = {"name": workload.name, "image": workload.image}
    if workload.command:
        container["command"] = workload.command
    if workload.port:
        container["ports"] = [{"name": "main", "containerPort": workload.port}]
        probe = {"tcpSocket": {"port": "main"}}
        container |= {"readinessProbe": probe | {"periodSeconds": 5}, "livenessProbe": probe | {"periodSeconds": 20}}
    container["resources"] = {
        "requests": {"cpu": share.cpu_request, "memory": share.memory_request},
        "limits": {"cpu": share.cpu_limit, "memory": share.memory_limit},
    }
    container["securityContext"] = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    return {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        **({"restartPolicy": "Never"} if workload.kind == "job" else {}),
        "containers": [container],
    }


def _network(workload: Workload, meta: dict[str, Any], selector: dict[str, Any], share: Share) -> list[dict[str, Any]]:
    rules = [{"ports": [{"port": workload.port, "protocol": "TCP"}]}] if workload.port else []
    policy = {"podSelector": selector, "policyTypes": ["Ingress"], "ingress": rules}
    found = [{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": policy}]
    if workload.port:
        port = {"name": "main", "port": workload.port, "targetPort": "main"}
        service = {"type": "ClusterIP", "selector": selector["matchLabels"], "ports": [port]}
        found.insert(0, {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service})
    if share.replicas > 1:
        budget = {"minAvailable": share.replicas - 1, "selector": selector}
        found.append({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta, "spec": budget})
    return found
