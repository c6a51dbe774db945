"""A cluster to act on: the fake one, and where KUBECONFIG names a real one, that too."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import pytest

from interlock.bus.clock import ManualClock
from interlock.skills.infrastructure.cluster.client import Cluster, open_cluster
from interlock.skills.infrastructure.cluster.execution import Executor
from interlock.skills.infrastructure.cluster.outcomes import target_of
from interlock.skills.infrastructure.fake_cluster.faults import Fault
from interlock.skills.infrastructure.fake_cluster.launching import FakeCluster
from interlock.skills.infrastructure.target import Target
from tests.skills.infrastructure.fake_cluster.speaking import Api, deployment

_numbers = count(1)


@dataclass
class Stage:
    """One namespace of one cluster. fake: None on a real one. clock: what the executor's patience goes by."""

    cluster: Cluster
    namespace: str
    proposals: Path
    fake: FakeCluster | None = None
    api: Api | None = None
    clock: ManualClock = field(default_factory=ManualClock)
    kubeconfig: Path | None = None

    async def sleep(self, seconds: float) -> None:
        """Waits on paper: the executor's clock and the fake world move on."""
        if self.fake is None:
            await anyio.sleep(seconds)
        else:
            self.fake.step(round(seconds * 1000))
        self.clock.advance(round(seconds * 1000))

    @property
    def executor(self) -> Executor:
        return Executor(
            self.cluster,
            proposals=self.proposals,
            clock=self.clock,
            sleep=self.sleep,
        )

    async def make(self, item: dict[str, Any], manager: str = "test") -> None:
        """Creates an object of apps/v1."""
        from interlock.skills.infrastructure.cluster.client import path_of

        path = path_of(item["kind"], self.namespace)
        await self.cluster._json("POST", path, query={"fieldManager": manager}, body=item)

    async def get(self, name: str = "web", kind: str = "Deployment") -> Any:
        return await self.cluster.get(kind, self.namespace, name)

    async def target(self, name: str = "web", kind: str = "Deployment") -> Target:
        """The object as an observation would name it; on a real cluster, when its controllers have written its status."""
        live = await self.get(name, kind)
        while self.fake is None:
            await anyio.sleep(0.5)
            before, live = live, await self.get(name, kind)
            if before["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]:
                break
        return target_of(live, kind)

    async def until(self, holds: Callable[[], Awaitable[bool]], within_s: float = 120) -> None:
        """Lets time go by until it holds."""
        for _ in range(int(within_s)):
            if await holds():
                return
            await self.sleep(1)
        raise AssertionError("it did not come to hold")

    async def ready(self, name: str = "web", kind: str = "Deployment") -> bool:
        """All pods of the newest template are ready."""
        from interlock.skills.infrastructure.cluster.restoring import is_settled

        return is_settled(await self.get(name, kind))

    def script(self, **what: Any) -> None:
        """A fault of the fake server in this namespace."""
        assert self.fake is not None
        self.fake.script(Fault(namespace=self.namespace, **what))

    def writes(self) -> list[str]:
        """The writes that arrived here, as verb and resource."""
        assert self.fake is not None
        return [
            "/".join(part for part in (seen["resource"], seen["subresource"]) if part)
            for seen in self.fake.requests()
            if seen["namespace"] == self.namespace and seen["verb"] in ("patch", "update", "delete", "create")
        ]


@pytest.fixture
async def stage(fake_cluster: FakeCluster, api: Api, tmp_path: Path) -> AsyncIterator[Stage]:
    """The fake cluster, for what only it can do: faults, and time that jumps."""
    async with open_cluster(fake_cluster.kubeconfig, timeout_s=1.0) as cluster:
        yield Stage(
            cluster, api.namespace, tmp_path / "proposals", fake_cluster, api, kubeconfig=fake_cluster.kubeconfig
        )


@pytest.fixture
def real_namespace() -> Iterator[str]:
    """A namespace of the real cluster, taken away afterwards."""
    name = f"interlock-test-{os.getpid()}-{next(_numbers)}"
    subprocess.run(["kubectl", "create", "namespace", name], check=True, capture_output=True, timeout=60)
    yield name
    subprocess.run(
        ["kubectl", "delete", "namespace", name, "--wait=false"], check=True, capture_output=True, timeout=60
    )


@pytest.fixture(params=["fake", "real"])
def where(request: pytest.FixtureRequest) -> tuple[str, FakeCluster | None, Api | None]:
    """A namespace, and the fake server it is on; None: of the real one."""
    if request.param == "fake":
        api: Api = request.getfixturevalue("api")
        return api.namespace, api.cluster, api
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG names no cluster")
    return request.getfixturevalue("real_namespace"), None, None


@pytest.fixture
async def either(where: tuple[str, FakeCluster | None, Api | None], tmp_path: Path) -> AsyncIterator[Stage]:
    """What has to hold on every API server."""
    namespace, fake, api = where
    kubeconfig = fake.kubeconfig if fake is not None else Path(os.environ["KUBECONFIG"])
    async with open_cluster(kubeconfig) as cluster:
        yield Stage(cluster, namespace, tmp_path / "proposals", fake, api, kubeconfig=kubeconfig)


@pytest.fixture
async def web(stage: Stage) -> Target:
    """A Deployment of two ready pods."""
    await stage.make(deployment())
    await stage.sleep(10)
    return await stage.target()
