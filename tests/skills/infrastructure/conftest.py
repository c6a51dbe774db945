from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from interlock.skills.infrastructure.fake_cluster.launching import FakeCluster
from tests.skills.infrastructure.fake_cluster.speaking import USER, Api

_numbers = count(1)


@pytest.fixture(scope="session")
def fake_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeCluster]:
    """One server for the session; tests keep apart by namespaces."""
    with FakeCluster(tmp_path_factory.mktemp("fake"), users=[USER], bookmark_ms=100, start_ms=1_763_700_000_000) as it:
        yield it


@pytest.fixture
def api(fake_cluster: FakeCluster) -> Iterator[Api]:
    """The admin in a namespace of his own."""
    name = f"test-{next(_numbers)}"
    api = Api(fake_cluster, name)
    assert api("POST", "/api/v1/namespaces", {"metadata": {"name": name}}).status == 201
    yield api
    fake_cluster.forget_faults()
    api("DELETE", "deployments")
    api("DELETE", "statefulsets")
