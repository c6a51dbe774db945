"""What a blueprint's source of metrics is to a real pair of eyes: here a trace beside it, over the project's API server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.agents.blueprints.eyes import real_eyes
from interlock.agents.cli.blueprint_files import load_services
from interlock.skills.errors import SkillsError
from interlock.skills.infrastructure.fake_cluster.launching import FakeCluster

pytestmark = [pytest.mark.anyio, pytest.mark.process]
EXAMPLE = Path(__file__).parents[3] / "examples/03-blueprint"
BLUEPRINT = """apiVersion: infra.spec-driven.io/v1
kind: InfrastructureBlueprint
metadata: {name: todo-frontend, version: 1.0.0}
spec:
  target: {kind: Deployment, name: todo-frontend, namespace: todo, container: frontend}
  resources: {cpu: {request: 50m, limit: 200m}, memory: {request: 128Mi, limit: 512Mi}}
  scaling: {min_replicas: 1, max_replicas: 5}
  metrics: {source: trace, trace: recorded.csv}
  governance: {agent_authority: {allowed_operations: [scale_within_limits]}}
"""


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeCluster]:
    with FakeCluster(tmp_path_factory.mktemp("fake"), objects=[EXAMPLE / "cluster.yaml"]) as running:
        yield running


def put(place: Path, trace: str | None) -> Path:
    (place / "blueprint.yaml").write_text(BLUEPRINT)
    if trace is not None:
        (place / "recorded.csv").write_text(trace)
    return place


async def test_a_trace_beside_the_blueprint_is_what_is_measured(fake: FakeCluster, tmp_path: Path) -> None:
    services = load_services(put(tmp_path, "time_s,latency_p95_ms,error_rate_percent\n0,250,0.5\n3600,1,1\n"))
    (service,) = services
    assert service.blueprint is not None
    async with real_eyes(fake.kubeconfig, tmp_path, services) as eyes:
        began_ms = eyes.now_ms()
        for _ in range(2):  # the trace goes on, it does not begin anew
            state = await eyes.observe(service.blueprint)
    metrics = {sample.name: sample.value for sample in state.metrics}
    assert metrics == {"latency_p95_us": 250_000, "error_rate_ppm": 5_000}
    assert all(began_ms <= sample.at_ms <= state.at_ms for sample in state.metrics)


@pytest.mark.parametrize(
    ("trace", "code"),
    [(None, "unreadable"), ("nonsense\n", "trace_invalid"), ("time_s,latency_p95_ms\n0,fast\n", "trace_invalid")],
)
async def test_a_trace_that_cannot_be_read_is_nothing_seen(
    fake: FakeCluster, tmp_path: Path, trace: str | None, code: str
) -> None:
    (service,) = services = load_services(put(tmp_path, trace))
    assert service.blueprint is not None
    async with real_eyes(fake.kubeconfig, tmp_path, services) as eyes:
        with pytest.raises(SkillsError) as caught:
            await eyes.observe(service.blueprint)
    assert caught.value.reason == code
