from __future__ import annotations

import pytest
import yaml

from interlock.skills.infrastructure.fake_cluster.access import ADMIN, Access, Action
from interlock.skills.infrastructure.fake_cluster.statuses import ApiError

RULES = """
kind: Role
metadata: {name: scaler, namespace: shop}
rules:
- {apiGroups: [apps], resources: [deployments], verbs: [get]}
- {apiGroups: [apps], resources: [deployments/scale], verbs: [patch], resourceNames: [web]}
---
kind: RoleBinding
metadata: {name: scaler, namespace: shop}
roleRef: {kind: Role, name: scaler}
subjects: [{kind: ServiceAccount, name: executor, namespace: interlock}]
---
kind: ClusterRole
metadata: {name: looker}
rules: [{apiGroups: [""], resources: [pods], verbs: ["*"]}]
---
kind: ClusterRoleBinding
metadata: {name: looker}
roleRef: {kind: ClusterRole, name: looker}
subjects: [{kind: User, name: ann}]
"""
EXECUTOR = "system:serviceaccount:interlock:executor"


@pytest.fixture
def access() -> Access:
    access = Access({"t": "ann"})
    access.load(yaml.safe_load_all(RULES))
    return access


@pytest.mark.parametrize(
    ("user", "action", "wanted"),
    [
        (EXECUTOR, Action("get", "apps", "deployments", "shop", "web"), True),
        (EXECUTOR, Action("get", "apps", "deployments", "other", "web"), False),
        (EXECUTOR, Action("get", "apps", "deployments/scale", "shop", "web"), False),
        (EXECUTOR, Action("patch", "apps", "deployments/scale", "shop", "web"), True),
        (EXECUTOR, Action("patch", "apps", "deployments/scale", "shop", "api"), False),
        (EXECUTOR, Action("get", "", "deployments", "shop", "web"), False),
        ("ann", Action("delete", "", "pods", "anywhere", "x"), True),
        ("ann", Action("get", "apps", "deployments", "shop", "web"), False),
        (ADMIN, Action("delete", "", "secrets", "shop", "x"), True),
    ],
)
def test_roles_give_what_they_say_and_no_more(access: Access, user: str, action: Action, wanted: bool) -> None:
    assert access.allows(user, action) is wanted


def test_a_refusal_names_the_verb_that_is_missing(access: Access) -> None:
    with pytest.raises(
        ApiError, match='cannot delete resource "deployments" in API group "apps" in the namespace "shop"'
    ):
        access.check(EXECUTOR, Action("delete", "apps", "deployments", "shop", "web"))


@pytest.mark.parametrize("header", ["", "t", "Basic t", "Bearer", "Bearer x"])
def test_an_unknown_caller_is_not_let_in(access: Access, header: str) -> None:
    with pytest.raises(ApiError) as refused:
        access.user(header)
    assert refused.value.code == 401
    assert access.user("Bearer t") == "ann"
