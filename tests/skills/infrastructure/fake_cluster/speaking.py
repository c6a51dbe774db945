"""Speaks HTTP with the fake server directly: what a test of the server itself must see unfiltered."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from interlock.skills.infrastructure.fake_cluster.launching import FakeCluster

USER = "system:serviceaccount:interlock:interlock-executor"
STRATEGIC = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


@dataclass
class Answer:
    status: int
    value: Any
    headers: Mapping[str, str]


@dataclass
class Api:
    """One caller. namespace: where paths without a slash in front are."""

    cluster: FakeCluster
    namespace: str
    token: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def path(self, resource: str) -> str:
        group = "apis/apps/v1" if resource.split("/")[0] in ("deployments", "statefulsets", "replicasets") else "api/v1"
        return f"/{group}/namespaces/{self.namespace}/{resource}"

    def connection(self, timeout: float = 20.0) -> http.client.HTTPSConnection:
        url = urlsplit(self.cluster.url)
        trust = ssl.create_default_context(cafile=str(self.cluster.certificate))
        return http.client.HTTPSConnection(url.hostname or "", url.port, timeout=timeout, context=trust)

    def __call__(
        self, method: str, resource: str, body: Any = None, *, content_type: str = "application/json", **query: Any
    ) -> Answer:
        path = resource if resource.startswith("/") else self.path(resource)
        path += f"?{urlencode(query)}" if query else ""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token or self.cluster.token}", "Content-Type": content_type}
        with closing(self.connection()) as connection:
            connection.request(method, path, data, headers | self.headers)
            answer = connection.getresponse()
            return Answer(answer.status, json.loads(answer.read() or b"null"), dict(answer.headers))

    def watch(self, resource: str, **query: Any) -> Iterator[Any]:
        """The events of a watch until the server ends it."""
        path = f"{self.path(resource)}?{urlencode({'watch': 'true', **query})}"
        with closing(self.connection()) as connection:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.cluster.token}"})
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            for line in answer:
                yield json.loads(line)


def deployment(name: str = "web", *, image: str = "shop/web:1", replicas: int = 2, **spec: Any) -> dict[str, Any]:
    """A Deployment of one container with requests and limits."""
    resources = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "128Mi"}}
    container = {"name": name, "image": image, "resources": resources}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
            **spec,
        },
    }
