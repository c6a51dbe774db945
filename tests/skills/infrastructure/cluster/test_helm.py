from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interlock.skills.errors import SkillsError
from interlock.skills.infrastructure.cluster.fragments import NotPossible
from interlock.skills.infrastructure.cluster.helm import values_of
from interlock.skills.infrastructure.cluster.helm_binary import Helm, HelmFailed
from interlock.skills.infrastructure.cluster.outcomes import canonical_spec
from interlock.skills.infrastructure.cluster.patience import Patience
from interlock.skills.infrastructure.cluster.restoring import roll_back
from interlock.skills.infrastructure.operations import (
    ChangeProbes,
    HelmPath,
    HelmUpgrade,
    ModifyStrategy,
    PatchResources,
    Scale,
)
from interlock.skills.infrastructure.target import ContainerResources, RolloutSettings, Target
from tests.skills.infrastructure.cluster.conftest import Stage
from tests.skills.infrastructure.cluster.services import MIB

pytestmark = pytest.mark.anyio

TARGET = Target(namespace="shop", kind="Deployment", name="web", uid="u", resource_version="1")
PATHS = {
    "replicas": "web.count",
    "cpu_limit_m": "web.resources.limits.cpu",
    "memory_limit_bytes": "web.resources.limits.memory",
}


def upgrade(change: Any, chart: str = "chart", release: str = "shop", version: str = "", **paths: str) -> HelmUpgrade:
    named = tuple(HelmPath(field=field, path=path) for field, path in (paths or PATHS).items())
    return HelmUpgrade(
        target=change.target, release=release, chart=chart, chart_version=version, change=change, paths=named
    )


def scale(target: Target = TARGET, replicas: int = 3) -> Scale:
    return Scale(target=target, from_replicas=2, replicas=replicas)


def test_values_stand_at_the_paths_of_the_chart() -> None:
    assert values_of(upgrade(scale())) == {"web": {"count": 3}}
    before = ContainerResources(cpu_limit_m=100, memory_limit_bytes=MIB, cpu_request_m=10)
    after = ContainerResources(cpu_limit_m=1500, memory_limit_bytes=256 * MIB, cpu_request_m=10)
    patch = PatchResources(target=TARGET, container="web", before=before, after=after)
    limits = {"cpu": "1500m", "memory": "256Mi"}
    assert values_of(upgrade(patch)) == {"web": {"resources": {"limits": limits}}}
    strategy = ModifyStrategy(target=TARGET, settings=RolloutSettings(strategy="Recreate"))
    paths = {"strategy": "a", "min_ready_seconds": "b", "revision_history_limit": "c"}
    assert values_of(upgrade(strategy, **paths)) == {"a": "Recreate", "b": 0, "c": 10}


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        (upgrade(scale(), other="x"), "helm_path_missing"),
        (upgrade(ChangeProbes(target=TARGET, container="web")), "helm_path_missing"),
        (upgrade(scale(), release="--post-renderer=sh"), "helm_name_refused"),
        (upgrade(scale(), release=""), "helm_name_refused"),
        (upgrade(scale(), version="1 --atomic"), "helm_name_refused"),
        (upgrade(scale(), replicas="a.b,c=d"), "helm_name_refused"),
        (upgrade(scale(), replicas="a..b"), "helm_name_refused"),
        (upgrade(scale(), replicas=""), "helm_name_refused"),
    ],
)
def test_what_helm_would_misread_is_refused(operation: HelmUpgrade, reason: str) -> None:
    with pytest.raises(NotPossible) as refused:
        values_of(operation)
    assert refused.value.reason == reason


# A script in the place of the binary: what the binary is held to.
def script(tmp_path: Path, body: str) -> str:
    path = tmp_path / "helm"
    path.write_text(f"#!{sys.executable}\nimport json, os, subprocess, sys, time\n{body}\n")
    path.chmod(0o700)
    return str(path)


async def test_the_binary_sees_nothing_of_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    told = tmp_path / "told.json"
    values = "json.load(open('values.json')) if os.path.exists('values.json') else None"
    body = (
        f"json.dump([sys.argv[1:], dict(os.environ), {values}, os.getpgid(0) == os.getpid()], open({str(told)!r}, 'w'))"
    )
    config = tmp_path / "config"
    helm = Helm(config, binary=script(tmp_path, body))
    await helm.upgrade("shop", "-chart", "1.2.3", "default", {"a": "x, y=$(z)"}, dry_run=True)
    words, env, seen, leads = json.loads(told.read_text())
    assert words[-3:] == ["--", "shop", "-chart"], "nothing after -- is taken for a flag"
    assert {"--reuse-values", "--dry-run=server", "--version=1.2.3", "--namespace=default"} <= set(words)
    assert seen == {"a": "x, y=$(z)"}
    assert leads, "a process group of its own"
    assert env["KUBECONFIG"] == str(config)
    assert not {"AWS_SECRET_ACCESS_KEY", "VIRTUAL_ENV", "PYTHONPATH"} & set(env)
    assert env["HOME"] != os.environ.get("HOME")
    assert not Path(env["HOME"]).exists(), "its directory is gone"


async def test_one_that_does_not_end_is_ended_with_all_it_started(tmp_path: Path) -> None:
    child = tmp_path / "child"
    body = f"p = subprocess.Popen(['sleep', '60']); open({str(child)!r}, 'w').write(str(p.pid)); time.sleep(60)"
    helm = Helm(None, binary=script(tmp_path, body), timeout_s=1.0)
    with pytest.raises(HelmFailed, match="did not end within 1 s"):
        await helm.revision("shop", "default")
    stat = Path(f"/proc/{child.read_text()}/stat")
    deadline = time.monotonic() + 5
    while stat.exists() and stat.read_text().split()[2] != "Z" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not stat.exists() or stat.read_text().split()[2] == "Z"


async def test_what_it_says_is_bounded_and_told(tmp_path: Path) -> None:
    noisy = Helm(
        None, binary=script(tmp_path, "print('x' * 5_000_000); sys.stderr.write('y' * 5_000_000 + 'why'); sys.exit(3)")
    )
    with pytest.raises(HelmFailed) as failed:
        await noisy.revision("shop", "default")
    assert len(failed.value.told) < 500
    for said in ("", "[]", "nonsense", '{"revision": 1}', '[{"revision": "x"}]'):
        helm = Helm(None, binary=script(tmp_path, f"print({said!r})"))
        with pytest.raises(HelmFailed, match="cannot read the history"):
            await helm.revision("shop", "default")


def test_without_the_binary_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SkillsError, match="Install helm"):
        Helm(None)


# From here on the real binary against the fake server.
REAL = pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")
TEMPLATE = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: {{ .Values.web.count }}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: shop/web:1
        resources: {{ toJson .Values.web.resources }}
"""


@pytest.fixture
def chart(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "chart"
    (path / "templates").mkdir(parents=True)
    (path / "Chart.yaml").write_text("apiVersion: v2\nname: shop\nversion: 1.0.0\n")
    values = {"web": {"count": 2, "resources": {"limits": {"cpu": "200m", "memory": "128Mi"}}}}
    (path / "values.yaml").write_text(json.dumps(values))
    (path / "templates" / "web.yaml").write_text(TEMPLATE)
    yield path


async def installed(stage: Stage, chart: Path) -> Target:
    helm = Helm(stage.kubeconfig)
    words = ["install", "shop", str(chart), f"--namespace={stage.namespace}", "--disable-openapi-validation"]
    await helm._run(words)
    await stage.sleep(10)
    return await stage.target()


@REAL
@pytest.mark.process
async def test_an_upgrade_and_its_way_back(stage: Stage, chart: Path) -> None:
    target = await installed(stage, chart)
    before = canonical_spec(await stage.get())
    dry = await stage.executor.execute(upgrade(scale(target), str(chart)), dry_run=True)
    assert (dry.status, canonical_spec(await stage.get())) == ("done", before), dry.detail
    outcome = await stage.executor.execute(upgrade(scale(target), str(chart)))
    assert outcome.status == "done", outcome
    assert outcome.prior is not None
    assert (outcome.prior.helm_release, outcome.prior.helm_revision) == ("shop", 1)
    live = await stage.get()
    assert (live["spec"]["replicas"], canonical_spec(live)) == (3, outcome.applied)
    patience = Patience.of(60_000, stage.clock, stage.sleep)
    back = await roll_back(stage.cluster, outcome, patience)
    assert back.status == "rolled_back", back
    assert canonical_spec(await stage.get()) == before


@REAL
@pytest.mark.process
async def test_a_path_that_the_chart_does_not_know_is_taken_back(stage: Stage, chart: Path) -> None:
    target = await installed(stage, chart)
    before = canonical_spec(await stage.get())
    outcome = await stage.executor.execute(upgrade(scale(target), str(chart), replicas="web.replicaCount"))
    assert (outcome.status, outcome.reason) == ("rolled_back", "helm_failed"), outcome.detail
    assert canonical_spec(await stage.get()) == before


@REAL
@pytest.mark.process
@pytest.mark.parametrize("trouble", ["no such chart", "refused by the server", "another release"])
async def test_an_upgrade_that_fails_leaves_nothing_behind(stage: Stage, chart: Path, trouble: str) -> None:
    target = await installed(stage, chart)
    before = canonical_spec(await stage.get())
    operation = upgrade(scale(target), str(chart))
    if trouble == "no such chart":
        operation = upgrade(scale(target), str(chart / "none"))
    elif trouble == "another release":
        operation = upgrade(scale(target), str(chart), release="other")
    else:
        stage.script(verb="patch", resource="deployments", status=422)
    outcome = await stage.executor.execute(operation)
    assert outcome.status in ("refused", "rolled_back"), outcome
    assert outcome.reason == "helm_failed"
    assert canonical_spec(await stage.get()) == before
