from __future__ import annotations

from itertools import islice

import pytest

from interlock.skills.infrastructure.fake_cluster.faults import Fault
from tests.skills.infrastructure.fake_cluster.speaking import MERGE, Api


def config(name: str, **labels: str) -> dict[str, object]:
    return {"metadata": {"name": name, "labels": labels}}


def test_a_watch_tells_what_changed_after_its_version(api: Api) -> None:
    version = api("GET", "configmaps").value["metadata"]["resourceVersion"]
    api("POST", "configmaps", config("a"))
    api("PATCH", "configmaps/a", {"data": {"x": "1"}}, content_type=MERGE)
    api("DELETE", "configmaps/a")
    events = list(islice(api.watch("configmaps", resourceVersion=version), 3))
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))


def test_a_watch_without_a_version_starts_with_what_is_there(api: Api) -> None:
    api("POST", "configmaps", config("a"))
    events = list(api.watch("configmaps", timeoutSeconds="1"))
    assert [(event["type"], event["object"]["metadata"]["name"]) for event in events] == [("ADDED", "a")]


def test_what_leaves_a_selection_is_deleted_for_its_watcher(api: Api) -> None:
    version = api("GET", "configmaps").value["metadata"]["resourceVersion"]
    api("POST", "configmaps", config("a", tier="front"))
    api("PATCH", "configmaps/a", {"metadata": {"labels": {"tier": "back"}}}, content_type=MERGE)
    api("PATCH", "configmaps/a", {"metadata": {"labels": {"tier": "front"}}}, content_type=MERGE)
    query = {"resourceVersion": version, "labelSelector": "tier=front"}
    assert [event["type"] for event in islice(api.watch("configmaps", **query), 3)] == ["ADDED", "DELETED", "ADDED"]


def test_bookmarks_carry_the_version_forward(api: Api) -> None:
    version = api("GET", "configmaps").value["metadata"]["resourceVersion"]
    api("POST", "secrets", config("elsewhere"))
    (event,) = islice(api.watch("configmaps", resourceVersion=version, allowWatchBookmarks="true"), 1)
    assert event["type"] == "BOOKMARK"
    assert int(event["object"]["metadata"]["resourceVersion"]) > int(version)


def test_a_version_that_is_compacted_away_is_gone(api: Api) -> None:
    version = api("GET", "configmaps").value["metadata"]["resourceVersion"]
    api("POST", "configmaps", config("a"))
    api.cluster.compact()
    (event,) = api.watch("configmaps", resourceVersion=version)
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_watch_expires_when_it_is_scripted(api: Api, after: int) -> None:
    for name in ("a", "b", "c"):
        api("POST", "configmaps", config(name))
    api.cluster.script(Fault(verb="watch", resource="configmaps", namespace=api.namespace, expire_watch=after))
    version = int(api("GET", "configmaps").value["metadata"]["resourceVersion"])
    events = list(api.watch("configmaps", resourceVersion=str(version - 3)))
    assert [event["type"] for event in events] == ["ADDED"] * after + ["ERROR"]
