from __future__ import annotations

from typing import Any

import pytest

from tests.skills.infrastructure.fake_cluster.speaking import APPLY, JSON_PATCH, MERGE, STRATEGIC, USER, Api, deployment


def made(api: Api, **given: Any) -> Any:
    answer = api("POST", "deployments", deployment(**given))
    assert answer.status == 201, answer.value
    return api("GET", "deployments/" + answer.value["metadata"]["name"]).value


def test_a_made_object_has_an_identity_and_the_defaults_of_a_real_server(api: Api) -> None:
    item = made(api)
    assert item["metadata"]["generation"] == 1
    assert len(item["metadata"]["uid"]) == 36
    assert int(item["metadata"]["resourceVersion"]) > 1000
    assert item["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
    }
    assert item["spec"]["progressDeadlineSeconds"] == 600
    assert item["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 30
    again = api("POST", "deployments", deployment())
    assert (again.status, again.value["reason"]) == (409, "AlreadyExists")


def test_errors_are_status_objects(api: Api) -> None:
    answer = api("GET", "deployments/nothing")
    assert answer.status == 404
    assert answer.value == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'deployments.apps "nothing" not found',
        "reason": "NotFound",
        "details": {"name": "nothing", "kind": "deployments", "group": "apps"},
        "code": 404,
    }


def test_an_update_of_an_older_version_is_a_conflict_and_changes_nothing(api: Api) -> None:
    old = made(api)
    assert api("PUT", "deployments/web", {**old, "spec": {**old["spec"], "replicas": 3}}).status == 200
    late = api("PUT", "deployments/web", {**old, "spec": {**old["spec"], "replicas": 4}})
    assert (late.status, late.value["reason"]) == (409, "Conflict")
    assert "the object has been modified; please apply your changes to the latest version" in late.value["message"]
    assert api("GET", "deployments/web").value["spec"]["replicas"] == 3


def test_a_write_to_the_successor_of_an_object_is_a_conflict(api: Api) -> None:
    old = made(api)
    api("DELETE", "deployments/web")
    new = made(api)
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    patch = {"metadata": {"uid": old["metadata"]["uid"]}, "spec": {"replicas": 5}}
    answer = api("PATCH", "deployments/web", patch, content_type=MERGE)
    assert answer.status == 422
    assert "metadata.uid: Invalid value" in answer.value["message"]
    patch["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
    assert api("PATCH", "deployments/web", patch, content_type=MERGE).status == 409
    scale = {"metadata": {"uid": old["metadata"]["uid"]}, "spec": {"replicas": 5}}
    assert api("PATCH", "deployments/web/scale", scale, content_type=MERGE).status == 409
    assert api("PUT", "deployments/web", {**new, "metadata": {**new["metadata"], **scale["metadata"]}}).status == 409
    body = {"preconditions": {"uid": old["metadata"]["uid"]}}
    assert api("DELETE", "deployments/web", body).status == 409


def test_a_dry_run_checks_everything_and_keeps_nothing(api: Api) -> None:
    old = made(api)
    answer = api("PATCH", "deployments/web", {"spec": {"replicas": 9}}, content_type=MERGE, dryRun="All")
    assert answer.value["spec"]["replicas"] == 9
    assert answer.value["metadata"]["resourceVersion"] == old["metadata"]["resourceVersion"]
    assert api("GET", "deployments/web").value == old
    wrong = api("PATCH", "deployments/web", {"spec": {"replicas": -1}}, content_type=MERGE, dryRun="All")
    assert wrong.status == 422
    assert api("POST", "deployments", deployment("other"), dryRun="All").status == 201
    assert api("GET", "deployments/other").status == 404
    assert api("DELETE", "deployments/web", dryRun="All").status == 200
    assert api("GET", "deployments/web").status == 200
    assert api("PATCH", "deployments/web", {}, content_type=MERGE, dryRun="Some").status == 422


def test_a_write_that_changes_nothing_makes_no_version(api: Api) -> None:
    old = made(api)
    same = api("PATCH", "deployments/web", {"spec": {"replicas": 2}}, content_type=MERGE)
    assert same.value["metadata"]["resourceVersion"] == old["metadata"]["resourceVersion"]


KIND = {"apiVersion": "apps/v1", "kind": "Deployment"}
CPU = {"name": "web", "resources": {"limits": {"cpu": "300m"}}}
PATCHES = [
    (STRATEGIC, {"spec": {"template": {"spec": {"containers": [CPU]}}}}),
    (JSON_PATCH, [{"op": "replace", "path": "/spec/template/spec/containers/0/resources/limits/cpu", "value": "300m"}]),
    (APPLY, {**KIND, "metadata": {"name": "web"}, "spec": {"template": {"spec": {"containers": [CPU]}}}}),
]


@pytest.mark.parametrize(("content_type", "patch"), PATCHES, ids=["strategic", "json", "apply"])
def test_patches_of_one_container_keep_the_rest(api: Api, content_type: str, patch: Any) -> None:
    old = made(api)
    query = {"fieldManager": "me", "force": "true"} if content_type == APPLY else {}
    answer = api("PATCH", "deployments/web", patch, content_type=content_type, **query)
    assert answer.status == 200, answer.value
    (container,) = answer.value["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"cpu": "300m", "memory": "128Mi"}
    assert container["image"] == "shop/web:1"
    assert answer.value["metadata"]["generation"] == old["metadata"]["generation"] + 1


def test_a_merge_patch_replaces_a_list_whole(api: Api) -> None:
    made(api)
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "x"}]}}}}
    answer = api("PATCH", "deployments/web", patch, content_type=MERGE)
    assert answer.value["spec"]["template"]["spec"]["containers"][0]["resources"] == {}


REFUSED = [
    (MERGE, {"spec": {"replicas": -1}}, 422, "must be greater than or equal to 0"),
    (MERGE, {"spec": {"selector": {"matchLabels": {"app": "x"}}}}, 422, "field is immutable"),
    (STRATEGIC, {"spec": {"template": {"spec": {"containers": [{"image": "x"}]}}}}, 500, "merge key: name"),
    (JSON_PATCH, [{"op": "test", "path": "/spec/replicas", "value": 7}], 422, "rejected our request"),
    (JSON_PATCH, {"op": "add"}, 400, "a list of operations"),
    ("text/plain", {}, 415, "Unsupported Media Type"),
    (MERGE, {"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}}, 422, "maxSurge"),
    (
        STRATEGIC,
        {"spec": {"template": {"spec": {"containers": [{"name": "web", "resources": {"limits": {"cpu": "1 core"}}}]}}}},
        422,
        "quantities",
    ),
    (
        STRATEGIC,
        {"spec": {"template": {"spec": {"containers": [{"name": "web", "resources": {"requests": {"cpu": "9"}}}]}}}},
        422,
        "must be less than or equal to cpu limit of 200m",
    ),
    (STRATEGIC, {"spec": {"template": {"spec": {"containers": 7}}}}, 422, "cannot be handled"),
    (APPLY, {"metadata": {"name": "web"}}, 422, "fieldManager: Required value"),
]


@pytest.mark.parametrize(("content_type", "patch", "status", "message"), REFUSED)
def test_what_a_real_server_refuses_is_refused(
    api: Api, content_type: str, patch: Any, status: int, message: str
) -> None:
    old = made(api)
    answer = api("PATCH", "deployments/web", patch, content_type=content_type)
    assert answer.status == status, answer.value
    assert message in answer.value["message"]
    assert api("GET", "deployments/web").value == old


def test_the_scale_subresource_reads_and_writes_replicas_alone(api: Api) -> None:
    old = made(api)
    scale = api("GET", "deployments/web/scale").value
    assert (scale["kind"], scale["spec"], scale["status"]["selector"]) == ("Scale", {"replicas": 2}, "app=web")
    assert scale["metadata"]["resourceVersion"] == old["metadata"]["resourceVersion"]
    answer = api("PUT", "deployments/web/scale", {**scale, "spec": {"replicas": 4}})
    assert answer.value["spec"] == {"replicas": 4}
    assert api("PUT", "deployments/web/scale", {**scale, "spec": {"replicas": 5}}).status == 409
    patched = api("PATCH", "deployments/web/scale", {"spec": {"replicas": 1}}, content_type=MERGE)
    assert patched.value["spec"] == {"replicas": 1}
    assert api("PATCH", "deployments/web/scale", {"spec": {"replicas": "x"}}, content_type=MERGE).status == 422


def test_the_owners_of_fields_are_kept_and_an_apply_does_not_take_them(api: Api) -> None:
    api("POST", "deployments", deployment(), fieldManager="argocd-controller")
    wanted = {**KIND, "metadata": {"name": "web"}, "spec": {"replicas": 3}}
    answer = api("PATCH", "deployments/web", wanted, content_type=APPLY, fieldManager="me")
    assert answer.status == 409
    cause = {
        "reason": "FieldManagerConflict",
        "message": 'conflict with "argocd-controller" using apps/v1',
        "field": ".spec.replicas",
    }
    assert answer.value["details"]["causes"] == [cause]
    forced = api("PATCH", "deployments/web", wanted, content_type=APPLY, fieldManager="me", force="true")
    owners = {entry["manager"]: entry["fieldsV1"] for entry in forced.value["metadata"]["managedFields"]}
    assert owners["me"] == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in owners["argocd-controller"]["f:spec"]


def test_selectors_and_chunks(api: Api) -> None:
    for number in range(5):
        api("POST", "configmaps", {"metadata": {"name": f"c{number}", "labels": {"odd": str(number % 2)}}})
    names = [item["metadata"]["name"] for item in api("GET", "configmaps", labelSelector="odd=1").value["items"]]
    assert names == ["c1", "c3"]
    found = api("GET", "configmaps", fieldSelector="metadata.name!=c0", labelSelector="odd in (0)").value["items"]
    assert [item["metadata"]["name"] for item in found] == ["c2", "c4"]
    assert api("GET", "configmaps", labelSelector="odd in 0").status == 400
    first = api("GET", "configmaps", limit=2).value
    assert (len(first["items"]), first["metadata"]["remainingItemCount"]) == (2, 3)
    token = first["metadata"]["continue"]
    api("DELETE", "configmaps/c2")
    second = api("GET", "configmaps", **{"limit": 2, "continue": token}).value
    assert [item["metadata"]["name"] for item in second["items"]] == ["c2", "c3"], "the state it began with"
    api.cluster.compact()
    late = api("GET", "configmaps", **{"continue": token})
    assert (late.status, late.value["reason"]) == (410, "Expired")
    assert api("GET", "configmaps", **{"continue": "nonsense"}).status == 400
    assert api("GET", "configmaps", resourceVersion=10**9).status == 504


def test_only_known_tokens_come_in_and_only_the_admin_to_the_faults(api: Api) -> None:
    stranger = Api(api.cluster, api.namespace, token="guess")
    assert stranger("GET", "pods").status == 401
    somebody = Api(api.cluster, api.namespace, token=api.cluster.tokens[USER])
    assert somebody("GET", "pods").status == 200
    assert somebody("POST", "/_admin/step", {"ms": 1}).status == 403
    assert api("POST", "/_admin/step", {"ms": -1}).status == 400
    assert api("POST", "/_admin/step", {"minutes": 1}).status == 400


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/version", "gitVersion"),
        ("/api", "versions"),
        ("/apis", "groups"),
        ("/apis/apps", "versions"),
        ("/apis/apps/v1", "resources"),
        ("/api/v1", "resources"),
    ],
)
def test_discovery_tells_what_there_is(api: Api, path: str, wanted: str) -> None:
    assert api("GET", path).value[wanted]
    assert api("GET", path + "/nothing/at/all/there").status == 404
