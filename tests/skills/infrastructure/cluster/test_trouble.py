"""Whatever the API server does, an execution ends in done, refused, rolled back or unknown, and that is the truth."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.skills.infrastructure.cluster.outcomes import Outcome, canonical_spec
from interlock.skills.infrastructure.cluster.patience import Patience
from interlock.skills.infrastructure.cluster.restoring import roll_back
from interlock.skills.infrastructure.operations import PatchResources, PodName, RestartPods, Scale
from interlock.skills.infrastructure.target import ContainerResources, Target
from tests.skills.infrastructure.cluster.conftest import Stage
from tests.skills.infrastructure.cluster.test_executing import AFTER, BEFORE

pytestmark = pytest.mark.anyio

PATCH: dict[str, Any] = {"verb": "patch", "resource": "deployments"}
IMAGE = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 7}}}}
STATUS_ONLY = {"metadata": {"labels": {"touched": "yes"}}}


async def scaled(stage: Stage, web: Target) -> Outcome:
    assert stage.fake is not None
    stage.fake.forget_requests()
    return await stage.executor.execute(Scale(target=web, from_replicas=2, replicas=3))


# fault → how it ends, why, how many writes were sent, replicas afterwards
TROUBLE: list[tuple[str, dict[str, Any], str, str, int, int | None]] = [
    ("conflict", {"interfere": STATUS_ONLY}, "refused", "object_changed", 1, 2),
    ("conflict, another spec", {"interfere": IMAGE}, "refused", "object_changed", 1, 2),
    ("throttled once", {"status": 429, "retry_after_s": 2}, "done", "", 2, 3),
    ("throttled without end", {"status": 429, "retry_after_s": 9, "times": 99}, "refused", "cluster_throttles", 4, 2),
    ("asked to wait too long", {"status": 429, "retry_after_s": 600}, "refused", "cluster_throttles", 1, 2),
    ("503 once", {"status": 503}, "done", "", 2, 3),
    ("500 without end", {"status": 500, "times": 99}, "unknown", "cluster_unavailable", 4, 2),
    ("cut before", {"drop": "before"}, "done", "", 2, 3),
    ("cut after", {"drop": "after"}, "done", "", 1, 3),
    ("cut before, without end", {"drop": "before", "times": 99}, "unknown", "cluster_silent", 4, 2),
    ("timeout before", {"hang": "before"}, "done", "", 2, 3),
    ("timeout after", {"hang": "after"}, "done", "", 1, 3),
    ("half an answer", {"keep_bytes": 30}, "done", "", 1, 3),
    ("deleted", {"vanish": True}, "refused", "object_not_found", 1, None),
    ("deleted, and cut", {"vanish": True, "drop": "before"}, "unknown", "object_not_found", 1, None),
    ("forbidden", {"status": 403}, "refused", "cluster_forbids", 1, 2),
    ("unauthorised", {"status": 401}, "refused", "cluster_forbids", 1, 2),
    ("rejected by an admission hook", {"status": 422}, "refused", "cluster_refused", 1, 2),
    (
        "cut, and only the version moved",
        {"interfere": STATUS_ONLY, "drop": "before"},
        "refused",
        "object_changed",
        1,
        2,
    ),
    ("cut, and somebody else wrote", {"interfere": IMAGE, "drop": "before"}, "unknown", "object_changed", 1, 2),
]


@pytest.mark.parametrize(
    ("name", "fault", "status", "reason", "writes", "replicas"), TROUBLE, ids=lambda v: v if isinstance(v, str) else ""
)
async def test_each_trouble_has_its_end(
    stage: Stage,
    web: Target,
    name: str,
    fault: dict[str, Any],
    status: str,
    reason: str,
    writes: int,
    replicas: int | None,
) -> None:
    stage.script(**PATCH, **fault)
    outcome = await scaled(stage, web)
    assert (outcome.status, outcome.reason) == (status, reason), outcome
    assert stage.writes() == ["deployments/scale"] * writes
    assert outcome.needs_human is (status == "unknown")
    if replicas is not None:
        assert (await stage.get())["spec"]["replicas"] == replicas


async def test_the_same_holds_for_a_patch_of_the_object(stage: Stage, web: Target) -> None:
    stage.script(**PATCH, drop="after")
    operation = PatchResources(target=web, container="web", before=BEFORE, after=AFTER)
    outcome = await stage.executor.execute(operation)
    assert outcome.status == "done"
    assert canonical_spec(await stage.get()) == outcome.applied


async def test_reading_may_be_repeated(stage: Stage, web: Target) -> None:
    stage.script(verb="get", resource="deployments", status=503, times=3)
    stage.script(verb="get", resource="deployments", drop="before", times=1)
    assert (await scaled(stage, web)).status == "done"


async def test_a_cluster_that_cannot_be_read_is_not_written(stage: Stage, web: Target) -> None:
    stage.script(verb="get", resource="deployments", status=503, times=99)
    outcome = await scaled(stage, web)
    assert (outcome.status, outcome.reason) == ("refused", "cluster_unavailable")
    assert stage.writes() == []


async def test_a_write_without_an_answer_that_cannot_be_looked_up_is_unknown(stage: Stage, web: Target) -> None:
    stage.script(**PATCH, drop="after")
    stage.script(verb="get", resource="deployments", status=503, after=1, times=99)
    outcome = await scaled(stage, web)
    assert (outcome.status, outcome.needs_human) == ("unknown", True)
    assert stage.writes() == ["deployments/scale"]


async def test_two_executions_for_one_version_have_one_effect(stage: Stage, web: Target) -> None:
    first = await stage.executor.execute(Scale(target=web, from_replicas=2, replicas=3))
    second = await stage.executor.execute(Scale(target=web, from_replicas=2, replicas=5))
    assert (first.status, second.status, second.reason) == ("done", "refused", "object_changed")
    assert (await stage.get())["spec"]["replicas"] == 3


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"status": 503, "times": 2}, "done"),
        ({"status": 503, "times": 99, "after": 1}, "unknown"),
        ({"status": 403, "after": 1}, "unknown"),
        ({"status": 403}, "refused"),
        ({"drop": "after"}, "done"),
        ({"drop": "before"}, "done"),
        ({"vanish": True}, "done"),
    ],
)
async def test_restarts_that_stop_halfway_say_so(stage: Stage, web: Target, fault: dict[str, Any], status: str) -> None:
    pods, _ = await stage.cluster.list("Pod", stage.namespace, "app=web")
    named = tuple(PodName(name=pod["metadata"]["name"], uid=pod["metadata"]["uid"]) for pod in pods)
    stage.script(verb="delete", resource="pods", **fault)
    outcome = await stage.executor.execute(RestartPods(target=web, pods=named))
    assert outcome.status == status, outcome
    if status == "unknown":
        assert named[0].name in outcome.detail


async def rolled_back(stage: Stage, web: Target, **fault: Any) -> Outcome:
    outcome = await scaled(stage, web)
    assert outcome.status == "done"
    if fault:
        stage.script(**PATCH, **fault)
    return await roll_back(stage.cluster, outcome, Patience.of(60_000, stage.clock, stage.sleep))


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({}, "rolled_back"),
        ({"status": 429, "retry_after_s": 3}, "rolled_back"),
        ({"status": 503, "times": 3}, "rolled_back"),
        ({"drop": "before"}, "rolled_back"),
        ({"drop": "after"}, "rolled_back"),
        ({"hang": "after"}, "rolled_back"),
        ({"interfere": STATUS_ONLY}, "rolled_back"),
        ({"interfere": IMAGE}, "unknown"),
        ({"vanish": True}, "unknown"),
        ({"status": 403}, "unknown"),
        ({"status": 503, "times": 999}, "unknown"),
    ],
)
async def test_a_rollback_restores_every_byte_or_says_that_it_cannot(
    stage: Stage, web: Target, fault: dict[str, Any], status: str
) -> None:
    before = canonical_spec(await stage.get())
    began = stage.clock.now_ms()
    back = await rolled_back(stage, web, **fault)
    assert back.status == status, back
    assert stage.clock.now_ms() - began <= 60_000
    if status == "rolled_back":
        assert canonical_spec(await stage.get()) == before
        assert back.prior is not None
        assert back.prior.digest in back.detail
    else:
        assert back.needs_human


async def test_what_somebody_else_wrote_since_is_not_taken_back(stage: Stage, web: Target) -> None:
    outcome = await scaled(stage, web)
    kind = "application/merge-patch+json"
    await stage.cluster.patch("Deployment", stage.namespace, "web", {"spec": {"replicas": 9}}, kind)
    back = await roll_back(stage.cluster, outcome, Patience.of(60_000, stage.clock, stage.sleep))
    assert (back.status, back.reason) == ("unknown", "object_changed")
    assert (await stage.get())["spec"]["replicas"] == 9


FAULTS = st.one_of(
    st.fixed_dictionaries({"status": st.sampled_from([429, 500, 503, 504])}),
    st.fixed_dictionaries({"drop": st.sampled_from(["before", "after"])}),
    st.fixed_dictionaries({"keep_bytes": st.integers(0, 50)}),
    st.fixed_dictionaries({"interfere": st.sampled_from([STATUS_ONLY, IMAGE])}),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(faults=st.lists(st.tuples(st.sampled_from(["get", "patch"]), FAULTS), max_size=6))
async def test_any_sequence_of_troubles_ends_in_the_truth(
    stage: Stage, faults: list[tuple[str, dict[str, Any]]]
) -> None:
    """The object is what the outcome says it is; nobody's write is lost."""
    from tests.skills.infrastructure.fake_cluster.speaking import deployment

    assert stage.api is not None
    stage.api.cluster.forget_faults()
    stage.api("DELETE", "deployments/web")
    await stage.make(deployment())
    before = await stage.get()
    target = await stage.target()
    for verb, fault in faults:
        stage.script(verb=verb, resource="deployments", **fault)
    operation = Scale(target=target, from_replicas=2, replicas=3)
    outcome = await stage.executor.execute(operation)
    stage.api.cluster.forget_faults()
    after = await stage.get()
    if outcome.status == "done":
        assert after["spec"]["replicas"] == 3
        assert canonical_spec(after) == outcome.applied or after["spec"]["template"] != before["spec"]["template"]
    if outcome.status == "refused":
        assert after["spec"]["replicas"] == 2


async def test_a_limit_below_zero_never_reaches_the_object(stage: Stage, web: Target) -> None:
    after = ContainerResources(cpu_request_m=-1)
    outcome = await stage.executor.execute(PatchResources(target=web, container="web", before=BEFORE, after=after))
    assert (outcome.status, outcome.reason) == ("refused", "cluster_refused")
