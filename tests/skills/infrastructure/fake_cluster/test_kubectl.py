"""A tool that we did not write: what kubectl expects of a server."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.skills.infrastructure.fake_cluster.speaking import Api, deployment

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed"),
]


def kubectl(api: Api, *words: str, wanted: int = 0) -> str:
    command = ["kubectl", "--kubeconfig", str(api.cluster.kubeconfig), "-n", api.namespace, "--cache-dir", "/dev/null"]
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=30)
    assert done.returncode == wanted, done.stderr
    return done.stdout + done.stderr


def test_scale_image_and_undo(api: Api) -> None:
    api("POST", "deployments", deployment())
    api.cluster.step(10_000)
    assert kubectl(api, "get", "deploy").split()[5:9] == ["web", "2/2", "2", "2"]
    assert "web scaled" in kubectl(api, "scale", "deploy/web", "--replicas=3", "--current-replicas=2")
    api.cluster.step(10_000)
    assert kubectl(api, "get", "pods").count("Running") == 3
    assert "image updated" in kubectl(api, "set", "image", "deploy/web", "web=shop/web:2")
    api.cluster.step(60_000)
    assert "successfully rolled out" in kubectl(api, "rollout", "status", "deploy/web")
    assert "rolled back" in kubectl(api, "rollout", "undo", "deploy/web")
    api.cluster.step(60_000)
    image = kubectl(api, "get", "deploy/web", "-o", "jsonpath={.spec.template.spec.containers[0].image}")
    assert image == "shop/web:1"
    assert "NewReplicaSetAvailable" in kubectl(api, "describe", "deploy/web")


def test_apply_shows_who_owns_what(api: Api) -> None:
    api("POST", "deployments", deployment(), fieldManager="argocd-controller")
    patch = '{"spec":{"replicas":5}}'
    words = ["patch", "deploy/web", "--type=merge", "-p", patch, "--dry-run=server", "-o", "jsonpath={.spec.replicas}"]
    assert kubectl(api, *words) == "5"
    assert kubectl(api, "get", "deploy/web", "-o", "jsonpath={.spec.replicas}") == "2"
    told = kubectl(api, "get", "deploy/web", "-o", "yaml", "--show-managed-fields")
    assert "manager: argocd-controller" in told
    assert "NotFound" in kubectl(api, "get", "deploy/none", wanted=1)
