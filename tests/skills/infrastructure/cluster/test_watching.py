"""A watch that goes on whatever happens, and tells each state once and in order."""

from __future__ import annotations

from contextlib import aclosing

import anyio
import pytest

from interlock.skills.infrastructure.cluster import watching
from interlock.skills.infrastructure.cluster.errors import NotAllowed
from interlock.skills.infrastructure.cluster.watching import Event, watch
from tests.skills.infrastructure.cluster.conftest import Stage
from tests.skills.infrastructure.fake_cluster.speaking import MERGE, deployment

pytestmark = pytest.mark.anyio


class Watcher:
    """Collects what a watch tells, in the background."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.told: list[Event] = []

    async def run(self) -> None:
        async def sleep(_: float) -> None:
            await anyio.sleep(0.01)

        async with aclosing(watch(self.stage.cluster, "Deployment", self.stage.namespace, sleep=sleep)) as events:
            async for event in events:
                self.told.append(event)

    async def until(self, kind: str, replicas: int | None = None) -> None:
        with anyio.fail_after(60):
            while not any(
                event.kind == kind and replicas in (None, event.item["spec"]["replicas"]) for event in self.told
            ):
                await anyio.sleep(0.005)

    def check(self) -> None:
        """No state twice, none after a newer one."""
        versions = [int(event.item["metadata"]["resourceVersion"]) for event in self.told if event.kind == "seen"]
        assert versions == sorted(set(versions))


async def replicas(stage: Stage, number: int) -> None:
    await stage.cluster.patch("Deployment", stage.namespace, "web", {"spec": {"replicas": number}}, MERGE)


TROUBLES = [
    {},
    {"expire_watch": 0},
    {"expire_watch": 2, "times": 2},
    {"cut_watch": 0, "times": 3},
    {"cut_watch": 1, "times": 3},
    {"status": 410, "times": 2},
    {"status": 429, "retry_after_s": 1},
    {"status": 500, "times": 2},
    {"status": 503, "times": 2},
    {"drop": "before", "times": 2},
]


@pytest.mark.parametrize("trouble", TROUBLES, ids=str)
async def test_nothing_is_missed_over_ends_cuts_and_410(stage: Stage, trouble: dict[str, object]) -> None:
    if trouble:
        stage.script(verb="watch", resource="deployments", **trouble)
    watcher = Watcher(stage)
    async with anyio.create_task_group() as group:
        group.start_soon(watcher.run)
        await stage.make(deployment())
        await watcher.until("seen", 2)
        for number in (3, 4, 5):
            await replicas(stage, number)
            await watcher.until("seen", number)
        assert stage.api is not None
        stage.api("DELETE", "deployments/web")
        await watcher.until("gone")
        group.cancel_scope.cancel()
    watcher.check()


async def test_an_object_that_went_while_history_was_lost_is_told_as_gone(stage: Stage) -> None:
    assert stage.api is not None and stage.fake is not None
    await stage.make(deployment())
    watcher = Watcher(stage)
    async with anyio.create_task_group() as group:
        group.start_soon(watcher.run)
        await watcher.until("seen")
        stage.script(verb="watch", resource="deployments", status=503, times=20)
        stage.script(verb="list", resource="deployments", status=503, times=2)
        stage.api("DELETE", "deployments/web")
        stage.fake.compact()
        stage.fake.forget_faults()
        await watcher.until("gone")
        group.cancel_scope.cancel()
    assert [event.kind for event in watcher.told if event.kind == "gone"] == ["gone"]


async def test_bookmarks_are_no_events_and_keep_a_quiet_watch_alive(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stage.fake is not None
    read, bookmarks = watching._read, list[str]()

    def noting(line: bytes) -> tuple[Event | None, str]:
        event, reached = read(line)
        if event is None:
            bookmarks.append(reached)
        return event, reached

    monkeypatch.setattr(watching, "_read", noting)
    await stage.make(deployment())
    await stage.sleep(20)
    watcher = Watcher(stage)
    async with anyio.create_task_group() as group:
        group.start_soon(watcher.run)
        await watcher.until("seen")
        with anyio.fail_after(10):
            while len(bookmarks) < 2:
                await anyio.sleep(0.005)
        before = len(watcher.told)
        stage.fake.compact()
        await replicas(stage, 4)
        await watcher.until("seen", 4)
        group.cancel_scope.cancel()
    assert before == 1
    watcher.check()


async def test_what_waiting_does_not_mend_is_raised(stage: Stage) -> None:
    stage.script(verb="list", resource="deployments", status=403)
    with pytest.raises(NotAllowed, match=r"deploy/rbac"):
        async for _ in watch(stage.cluster, "Deployment", stage.namespace):
            pass
