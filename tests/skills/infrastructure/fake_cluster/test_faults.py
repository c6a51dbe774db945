from __future__ import annotations

import http.client
import time
from typing import Any

import pytest

from interlock.skills.infrastructure.fake_cluster.faults import Fault, Faults
from tests.skills.infrastructure.fake_cluster.speaking import MERGE, Api, deployment

THREE = {"spec": {"replicas": 3}}


def replicas(api: Api) -> int:
    return int(api("GET", "deployments/web").value["spec"]["replicas"])


def script(api: Api, **what: Any) -> None:
    api("POST", "deployments", deployment())
    api.cluster.script(Fault(verb="patch", resource="deployments", namespace=api.namespace, **what))


def test_an_error_instead_of_the_work(api: Api) -> None:
    script(api, status=429, retry_after_s=2)
    answer = api("PATCH", "deployments/web", THREE, content_type=MERGE)
    assert (answer.status, answer.headers["Retry-After"], answer.value["reason"]) == (429, "2", "TooManyRequests")
    assert answer.value["details"]["retryAfterSeconds"] == 2
    assert replicas(api) == 2
    assert api("PATCH", "deployments/web", THREE, content_type=MERGE).status == 200, "once"


@pytest.mark.parametrize(("drop", "wanted"), [("before", 2), ("after", 3)])
def test_a_cut_connection_does_not_tell_whether_it_was_done(api: Api, drop: str, wanted: int) -> None:
    script(api, drop=drop)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        api("PATCH", "deployments/web", THREE, content_type=MERGE)
    assert replicas(api) == wanted


def test_half_an_answer(api: Api) -> None:
    script(api, keep_bytes=20)
    with pytest.raises(http.client.IncompleteRead):
        api("PATCH", "deployments/web", THREE, content_type=MERGE)
    assert replicas(api) == 3


@pytest.mark.parametrize(("hang", "wanted"), [("before", 2), ("after", 3)])
def test_no_answer_at_all(api: Api, hang: str, wanted: int) -> None:
    script(api, hang=hang)
    connection = api.connection(timeout=0.3)
    headers = {"Authorization": f"Bearer {api.cluster.token}", "Content-Type": MERGE}
    connection.request("PATCH", api.path("deployments/web"), b'{"spec":{"replicas":3}}', headers)
    with pytest.raises(TimeoutError):
        connection.getresponse()
    connection.close()
    assert replicas(api) == wanted


def test_somebody_else_writes_first(api: Api) -> None:
    script(api, interfere={"spec": {"replicas": 7}})
    version = api("GET", "deployments/web").value["metadata"]["resourceVersion"]
    patch = {**THREE, "metadata": {"resourceVersion": version}}
    assert api("PATCH", "deployments/web", patch, content_type=MERGE).status == 409
    assert replicas(api) == 7


def test_the_object_vanishes_first(api: Api) -> None:
    script(api, vanish=True)
    assert api("PATCH", "deployments/web", THREE, content_type=MERGE).status == 404


def test_a_slow_answer(api: Api) -> None:
    script(api, delay_ms=120)
    began = time.monotonic()
    assert api("PATCH", "deployments/web", THREE, content_type=MERGE).status == 200
    assert time.monotonic() - began >= 0.12


def test_faults_count_their_own_matches() -> None:
    faults = Faults()
    faults.script([Fault(verb="get", after=1, times=2, status=500), Fault(resource="pods", status=503)])
    hits = [faults.next("get", resource, "", "n", "x") for resource in ("pods", "pods", "pods", "jobs", "pods")]
    assert [hit.status if hit else 0 for hit in hits] == [503, 500, 500, 0, 0]
    assert faults.left() == []


def test_the_server_remembers_what_was_asked(api: Api) -> None:
    api.cluster.forget_requests()
    script(api, status=503)
    api("PATCH", "deployments/web", THREE, content_type=MERGE, dryRun="All")
    verbs = [(seen["verb"], seen["dry_run"]) for seen in api.cluster.requests()]
    assert verbs == [("create", False), ("patch", True)]
