"""Who a token is and what RBAC lets him do: Roles, ClusterRoles and their bindings, read from YAML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from interlock.skills.infrastructure.fake_cluster.statuses import ApiError

ADMIN = "system:admin"


@dataclass(frozen=True, slots=True)
class Action:
    """What a request asks for. resource: `deployments` or `deployments/scale`; empty for paths that are no resource."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str


@dataclass(slots=True)
class Access:
    """tokens: bearer token → user name. Without any rule loaded, everybody known may do everything."""

    tokens: Mapping[str, str]
    _grants: dict[str, list[tuple[str, Sequence[Mapping[str, Any]]]]] = field(default_factory=dict)
    _enforced: bool = False

    def load(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Takes Roles, ClusterRoles, RoleBindings and ClusterRoleBindings, instead of what it had; ignores other kinds."""
        self._grants = {}
        documents = [document for document in documents if document]
        rules = {_role(doc): doc.get("rules") or [] for doc in documents if doc["kind"] in ("Role", "ClusterRole")}
        for doc in documents:
            if doc["kind"] not in ("RoleBinding", "ClusterRoleBinding"):
                continue
            scope = doc["metadata"].get("namespace", "") if doc["kind"] == "RoleBinding" else ""
            reference = doc["roleRef"]
            inside = scope if reference["kind"] == "Role" else ""
            granted = rules.get((reference["kind"], inside, reference["name"]), [])
            for subject in doc.get("subjects") or []:
                self._grants.setdefault(_user(subject, scope), []).append((scope, granted))
        self._enforced = True

    def user(self, header: str) -> str:
        """The user of an Authorization header. Raises ApiError 401."""
        kind, _, token = header.partition(" ")
        user = self.tokens.get(token.strip()) if kind.lower() == "bearer" else None
        if user is None:
            raise ApiError(401, "Unauthorized", "Unauthorized")
        return user

    def allows(self, user: str, action: Action) -> bool:
        if not self._enforced or user == ADMIN:
            return True
        return any(
            scope in ("", action.namespace) and any(_rule_allows(rule, action) for rule in rules)
            for scope, rules in self._grants.get(user, [])
        )

    def check(self, user: str, action: Action) -> None:
        """Raises ApiError 403 in the words of a real server."""
        if self.allows(user, action):
            return
        where = f' in the namespace "{action.namespace}"' if action.namespace else " at the cluster scope"
        plural = action.resource.partition("/")[0]
        key = f"{plural}.{action.group}" if action.group else plural
        target = f'{key} "{action.name}"' if action.name else key
        message = (
            f'{target} is forbidden: User "{user}" cannot {action.verb} resource "{action.resource}" '
            f'in API group "{action.group}"{where}'
        )
        raise ApiError(403, "Forbidden", message, details={"name": action.name, "group": action.group, "kind": plural})


def _role(document: Mapping[str, Any]) -> tuple[str, str, str]:
    metadata = document["metadata"]
    namespace = metadata.get("namespace", "") if document["kind"] == "Role" else ""
    return document["kind"], namespace, metadata["name"]


def _user(subject: Mapping[str, Any], namespace: str) -> str:
    if subject["kind"] == "ServiceAccount":
        return f"system:serviceaccount:{subject.get('namespace', namespace)}:{subject['name']}"
    return str(subject["name"])


def _rule_allows(rule: Mapping[str, Any], action: Action) -> bool:
    def has(field_name: str, value: str) -> bool:
        listed = rule.get(field_name) or []
        return value in listed or "*" in listed

    names = rule.get("resourceNames") or []
    return (
        has("verbs", action.verb)
        and has("apiGroups", action.group)
        and has("resources", action.resource)
        and (not names or action.name in names)
    )
