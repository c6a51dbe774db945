"""The connection to a Kubernetes API: objects as plain JSON, errors as ours.

Configuration, authentication and transport are the `kubernetes` package's; its models are not used, because they drop what
they do not know, and a spec must come back byte by byte as it was.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from interlock.skills.errors import SkillsError
from interlock.skills.infrastructure.cluster.errors import ClusterError, NoAnswer, NotReached, from_status

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

Object = dict[str, Any]

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
FIELD_MANAGER = "interlock"

_PREFIXES = {
    "Deployment": "apis/apps/v1",
    "StatefulSet": "apis/apps/v1",
    "ReplicaSet": "apis/apps/v1",
    "ControllerRevision": "apis/apps/v1",
    "PodMetrics": "apis/metrics.k8s.io/v1beta1",
    "Pod": "api/v1",
    "Event": "api/v1",
}
_PLURALS = {kind: f"{kind.lower()}s" for kind in _PREFIXES} | {"PodMetrics": "pods"}
_PAGE_ITEMS = 500
# A watch's line is one object, of 1.5 MiB at most in etcd.
_LINE_BYTES = 2 * 1024 * 1024
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


def path_of(kind: str, namespace: str, name: str = "", subresource: str = "") -> str:
    """The URL path of an object or a collection. Raises SkillsError for a kind that nothing is done with here."""
    if kind not in _PREFIXES:
        raise SkillsError("unknown_kind", f"nothing is done with objects of kind {kind!r}")
    steps = ["", _PREFIXES[kind], *(["namespaces", quote(namespace, safe="")] if namespace else []), _PLURALS[kind]]
    return "/".join([*steps, *(quote(step, safe="") for step in (name, subresource) if step)])


class Cluster:
    """One API server, one account. timeout_s bounds each request but watches. kubeconfig: the file it comes from, for helm;
    None: the account of the pod.
    """

    def __init__(self, client: ApiClient, *, timeout_s: float = 10.0, kubeconfig: Path | None = None) -> None:
        self.kubeconfig = kubeconfig
        self._client = client
        self._timeout_s = timeout_s

    async def get(self, kind: str, namespace: str, name: str) -> Object:
        """One object. Raises ClusterError."""
        return await self._json("GET", path_of(kind, namespace, name))

    async def list(self, kind: str, namespace: str, selector: str = "") -> tuple[list[Object], str]:
        """All objects of a collection and the version the list is of, read in pages. Raises ClusterError."""
        items: list[Object] = []
        query = {"limit": str(_PAGE_ITEMS)} | ({"labelSelector": selector} if selector else {})
        while True:
            page = await self._json("GET", path_of(kind, namespace), query=query)
            items += page.get("items") or []
            token = page["metadata"].get("continue")
            if not token:
                return items, str(page["metadata"].get("resourceVersion", ""))
            query["continue"] = token

    async def patch(
        self,
        kind: str,
        namespace: str,
        name: str,
        body: Any,
        content_type: str,
        *,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Object:
        """The patched object. dry_run: the server checks everything and keeps nothing. Raises ClusterError."""
        query = {"fieldManager": FIELD_MANAGER} | ({"dryRun": "All"} if dry_run else {})
        path = path_of(kind, namespace, name, subresource)
        return await self._json("PATCH", path, query=query, body=body, content_type=content_type)

    async def delete(self, kind: str, namespace: str, name: str, uid: str, *, dry_run: bool = False) -> Object:
        """Deletes the object with that uid and no other. Raises ClusterError."""
        query = {"dryRun": "All"} if dry_run else {}
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}}
        return await self._json("DELETE", path_of(kind, namespace, name), query=query, body=body)

    async def lines(self, path: str, query: Mapping[str, str], silence_s: float) -> AsyncGenerator[bytes, None]:
        """The lines of a stream until it ends. silence_s: how long nothing may come. Raises ClusterError."""
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout_s, sock_read=silence_s)
        response = await self._send("GET", path, query=query, timeout=timeout)
        try:
            if response.status >= 400:
                raise await _error(response)
            async for line in response.content:
                if not line.endswith(b"\n"):
                    raise NoAnswer("the stream was cut within a line")
                yield line
        except (aiohttp.ClientError, TimeoutError) as error:
            raise NoAnswer(f"the stream ended: {_told(error)}") from error
        finally:
            response.close()

    async def _json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Object:
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=self._timeout_s)
        response = await self._send(method, path, query=query, body=body, content_type=content_type, timeout=timeout)
        try:
            if response.status >= 400:
                raise await _error(response)
            value = json.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise NoAnswer(f"no whole answer to {method} {path}: {_told(error)}") from error
        finally:
            response.release()
        if not isinstance(value, dict):
            raise NoAnswer(f"the answer to {method} {path} is no object")
        return value

    async def _send(
        self,
        method: str,
        path: str,
        *,
        timeout: Any,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Any:
        import aiohttp
        from kubernetes.aio.client.exceptions import ApiException

        url = self._client.configuration.host.rstrip("/") + path + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": "application/json", "Content-Type": content_type, "User-Agent": FIELD_MANAGER}
        try:
            # Where the token of the account comes from, and when it is fetched anew, is the package's business.
            await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
            answer = await self._client.call_api(method, url, headers, body=body, _request_timeout=timeout)
        except aiohttp.ClientConnectorError as error:
            raise NotReached(f"cannot reach {self._client.configuration.host}: {_told(error)}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NoAnswer(f"no answer to {method} {path}: {_told(error)}") from error
        except ApiException as error:
            raise from_status(error.status or 500, str(error.reason), None) from error
        return answer.response


async def _error(response: Any) -> ClusterError:
    import aiohttp

    try:
        body = await response.read()
    except (aiohttp.ClientError, TimeoutError):
        body = b""
    try:
        message = str(json.loads(body).get("message", ""))
    except (ValueError, AttributeError):
        message = body.decode("utf-8", "replace")
    return from_status(response.status, message or "no message", response.headers.get("Retry-After"))


def _told(error: BaseException) -> str:
    return str(error) or type(error).__name__


@asynccontextmanager
async def open_cluster(
    kubeconfig: Path | None = None, context: str = "", *, timeout_s: float = 10.0
) -> AsyncIterator[Cluster]:
    """The cluster of a kubeconfig file, of `KUBECONFIG`, of `~/.kube/config`, or the one this pod runs in. Raises SkillsError."""
    try:
        from kubernetes.aio import config
        from kubernetes.aio.client import ApiClient, Configuration
    except ImportError:
        raise SkillsError(
            "kubernetes_extra_missing",
            "the client for Kubernetes is not installed",
            "Run: pip install 'interlock[kubernetes]'",
        ) from None
    settings = Configuration()
    path = kubeconfig or _default_kubeconfig()
    if path is not None and not any(Path(part).is_file() for part in str(path).split(os.pathsep)):
        # Before the client, which would log it on standard error beside our own line.
        raise SkillsError("no_kubeconfig", f"{path} is no file", "Set KUBECONFIG or pass --kubeconfig")
    try:
        if path is not None:
            files = {"config_file": str(path), "context": context or None, "persist_config": False}
            await config.load_kube_config(client_configuration=settings, **files)  # type: ignore[no-untyped-call]
        else:
            config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
    except (config.ConfigException, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        where = str(path) if path is not None else "no file"
        raise SkillsError(
            "no_kubeconfig", f"no usable kubeconfig ({where}): {_told(error)}", "Set KUBECONFIG or pass --kubeconfig"
        ) from None
    except Exception as error:
        if type(error).__module__.startswith("yaml"):
            raise SkillsError("no_kubeconfig", f"{path} is no YAML", "Set KUBECONFIG or pass --kubeconfig") from None
        raise
    async with ApiClient(settings) as client:
        _connect_with_ours(client)
        yield Cluster(client, timeout_s=timeout_s, kubeconfig=path)


def _connect_with_ours(client: ApiClient) -> None:
    import aiohttp

    from interlock.skills.infrastructure.cluster.connections import Connector

    rest = client.rest_client
    connector = Connector(limit=rest.maxsize, ssl=rest.ssl_context)
    rest.pool_manager = aiohttp.ClientSession(connector=connector, trust_env=True, read_bufsize=_LINE_BYTES)


def _default_kubeconfig() -> Path | None:
    """The file that kubectl would take; None where only the pod's own account is left."""
    if named := os.environ.get("KUBECONFIG"):
        return Path(named)
    usual = Path.home() / ".kube" / "config"
    return None if not usual.exists() and _SERVICE_ACCOUNT.exists() else usual
