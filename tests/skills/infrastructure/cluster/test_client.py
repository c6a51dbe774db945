from __future__ import annotations

from pathlib import Path

import pytest

from interlock.skills.errors import SkillsError
from interlock.skills.infrastructure.cluster.client import open_cluster, path_of
from interlock.skills.infrastructure.cluster.errors import (
    ClusterError,
    NotAccepted,
    NotAllowed,
    NotReached,
    ServerFailed,
    Throttled,
    from_status,
)
from tests.skills.infrastructure.cluster.conftest import Stage
from tests.skills.infrastructure.fake_cluster.speaking import deployment

pytestmark = pytest.mark.anyio


async def test_lists_are_read_in_pages(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.skills.infrastructure.cluster.client._PAGE_ITEMS", 2)
    for number in range(5):
        await stage.make(deployment(f"web-{number}"))
    items, version = await stage.cluster.list("Deployment", stage.namespace)
    assert [item["metadata"]["name"] for item in items] == [f"web-{number}" for number in range(5)]
    assert version.isdecimal()


CONFIGS = {
    "nothing there": None,
    "no YAML": "{",
    "no mapping": "[]",
    "no contexts": "apiVersion: v1\nkind: Config\n",
    "an unknown context": "apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: []\nclusters: []\nusers: []\n",
    "a missing certificate": """
current-context: a
contexts: [{name: a, context: {cluster: a, user: a}}]
clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1', certificate-authority: /nowhere/ca.crt}}]
users: [{name: a, user: {token: t}}]
""",
}


@pytest.mark.parametrize("text", CONFIGS.values(), ids=CONFIGS.keys())
async def test_a_kubeconfig_that_is_not_usable_is_told_in_one_line(
    tmp_path: Path, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SkillsError) as refused:
        async with open_cluster(path):
            pass
    assert refused.value.reason == "no_kubeconfig"
    assert caplog.records == []  # the client would log beside our line
    assert "KUBECONFIG" in refused.value.mend
    assert "\n" not in str(refused.value)


async def test_the_kubeconfig_of_the_environment_is_the_default(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(stage.kubeconfig))
    async with open_cluster() as cluster:
        assert (await cluster.list("Deployment", stage.namespace))[0] == []


async def test_nobody_listens(tmp_path: Path) -> None:
    path = tmp_path / "config"
    text = CONFIGS["a missing certificate"]
    assert text is not None
    path.write_text(text.replace(", certificate-authority: /nowhere/ca.crt", ""))
    async with open_cluster(path) as cluster:
        with pytest.raises(NotReached) as refused:
            await cluster.get("Deployment", "a", "b")
    assert (refused.value.retryable, refused.value.may_have_happened) == (True, False)


@pytest.mark.parametrize(
    ("status", "header", "kind", "after_ms"),
    [
        (400, None, NotAccepted, 0),
        (401, None, NotAllowed, 0),
        (418, None, NotAccepted, 0),
        (422, None, NotAccepted, 0),
        (429, "3", Throttled, 3_000),
        (429, "Fri, 31 Dec 1999 23:59:59 GMT", Throttled, 0),
        (429, "-1", Throttled, 0),
        (429, "99999999999999", Throttled, 0),
        (500, None, ServerFailed, 0),
        (599, None, ServerFailed, 0),
    ],
)
def test_errors_by_status(status: int, header: str | None, kind: type[ClusterError], after_ms: int) -> None:
    error = from_status(status, "x" * 5_000, header)
    assert type(error) is kind
    assert error.retry_after_ms == after_ms
    assert len(str(error)) < 500


def test_names_cannot_leave_their_place_in_a_path() -> None:
    assert (
        path_of("Deployment", "../x", "a/b?c", "scale") == "/apis/apps/v1/namespaces/..%2Fx/deployments/a%2Fb%3Fc/scale"
    )
    with pytest.raises(SkillsError, match="Secret"):
        path_of("Secret", "a", "b")
