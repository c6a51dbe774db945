"""Requests for resources: from a path to the object it names, and what each verb does with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from interlock.skills.infrastructure.fake_cluster import kinds, patching, scaling
from interlock.skills.infrastructure.fake_cluster.access import Access, Action
from interlock.skills.infrastructure.fake_cluster.faults import Fault
from interlock.skills.infrastructure.fake_cluster.kinds import Kind
from interlock.skills.infrastructure.fake_cluster.reading import listed, matching, number
from interlock.skills.infrastructure.fake_cluster.statuses import ApiError, bad_request, not_found
from interlock.skills.infrastructure.fake_cluster.store import Object, Store
from interlock.skills.infrastructure.fake_cluster.tables import as_table, wants_table
from interlock.skills.infrastructure.fake_cluster.watching import watch
from interlock.skills.infrastructure.fake_cluster.wire import Request, Response, json_response
from interlock.skills.infrastructure.fake_cluster.writing import Author, Writer, check_preconditions

_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_WATCH_S = 1_800  # the least of what a real server takes by itself
_SERVER_SIDE_LIST = "sendInitialEvents"

PodMetrics = Callable[[str], Sequence[Object]]


@dataclass(frozen=True, slots=True)
class Route:
    """What a path and a method ask for."""

    kind: Kind
    namespace: str
    name: str
    subresource: str
    verb: str

    @property
    def action(self) -> Action:
        """As RBAC sees it."""
        resource = f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural
        return Action(self.verb, self.kind.group, resource, self.namespace, self.name)


def route(request: Request) -> Route | None:
    """None for a path that is no resource."""
    steps = [step for step in request.path.split("/") if step]
    if len(steps) > 2 and steps[0] == "api":
        group, version, rest = "", steps[1], steps[2:]
    elif len(steps) > 3 and steps[0] == "apis":
        group, version, rest = steps[1], steps[2], steps[3:]
    else:
        return None
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces" and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    kind = kinds.BY_PATH.get((group, version, rest[0]))
    if kind is None or len(rest) > 3:
        return None
    name, subresource = (*rest[1:], "", "")[:2]
    if subresource not in ("", "scale" if kind.scalable else "", "status" if kind.status else ""):
        return None
    if kind is kinds.NAMESPACES:
        namespace = name
    verb = _VERBS.get(request.method, "")
    if verb == "get" and not subresource:
        watched = request.query.get("watch") in ("true", "1")
        verb = "watch" if watched else "get" if name else "list"
    if verb == "delete" and not name:
        verb = "deletecollection"
    return Route(kind, namespace, name, subresource, verb)


class Resources:
    """Does the verbs. pod_metrics: the usage of a namespace's pods as metrics.k8s.io objects."""

    def __init__(
        self, store: Store, writer: Writer, access: Access, pod_metrics: PodMetrics, bookmark_s: float
    ) -> None:
        self._store = store
        self._writer = writer
        self._access = access
        self._pod_metrics = pod_metrics
        self._bookmark_s = bookmark_s

    def answer(self, asked: Route, request: Request, user: str, fault: Fault) -> Response:
        """Raises ApiError."""
        if asked.verb not in asked.kind.verbs or (asked.kind.namespaced and not asked.namespace and asked.name):
            raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        if asked.verb == "watch":
            if _SERVER_SIDE_LIST in request.query:
                raise ApiError(422, "Invalid", f"{_SERVER_SIDE_LIST}: Forbidden: this server does not stream lists")
            timeout_s = number(request.query, "timeoutSeconds") or _WATCH_S
            lines = watch(
                self._store,
                asked.kind,
                asked.namespace,
                asked.name,
                request.query,
                fault,
                bookmark_s=self._bookmark_s,
                timeout_s=timeout_s,
            )
            return Response(chunks=lines)
        if asked.kind is kinds.POD_METRICS:
            return self._metrics(asked, request)
        if asked.kind is kinds.ACCESS_REVIEWS:
            return json_response(self._review(request, user), 201)
        if asked.verb in ("get", "list"):
            return self._read(asked, request)
        if asked.verb == "create":
            body = self._body(request)
            made = self._writer.create(asked.kind, asked.namespace, body, self._author(asked, request))
            return json_response(made, 201)
        if asked.verb == "deletecollection":
            return self._delete_all(asked, request)
        if asked.verb == "delete":
            return self._delete(asked, request)
        return self._write(asked, request)

    def _read(self, asked: Route, request: Request) -> Response:
        if asked.verb == "list":
            answer = listed(self._store, asked.kind, asked.namespace, request.query)
        else:
            answer = self._existing(asked)
            if asked.subresource == "scale":
                answer = scaling.scale_of(answer)
        if wants_table(request.headers.get("accept", "")) and not asked.subresource:
            answer = as_table(asked.kind, answer, self._writer.clock.now_ms())
        return json_response(answer)

    def _write(self, asked: Route, request: Request) -> Response:
        author, body = self._author(asked, request), self._body(request)
        content_type = request.headers.get("content-type", "")
        applying = asked.verb == "patch" and content_type.startswith(patching.APPLY_PATCH)
        if applying and not request.query.get("fieldManager"):
            raise _options_invalid("fieldManager", "Required value: is required for apply patch")
        if applying and self._store.get(asked.kind, asked.namespace, asked.name) is None:
            return json_response(self._writer.create(asked.kind, asked.namespace, body, author), 201)
        live = self._existing(asked)
        if asked.subresource == "scale":
            scale = scaling.scale_of(live)
            given = patching.patched(asked.kind, scale, body, content_type) if asked.verb == "patch" else body
            written = self._writer.update(asked.kind, live, scaling.with_scale(live, given), author)
            return json_response(scaling.scale_of(written))
        if applying:
            force = request.query.get("force") == "true"
            given = patching.applied(asked.kind, live, body, author.manager, force=force)
        elif asked.verb == "patch":
            given = patching.patched(asked.kind, live, body, content_type)
        else:
            given = body
        try:
            return json_response(self._writer.update(asked.kind, live, given, author))
        except ApiError as error:
            if asked.verb == "patch" and error.reason == "BadRequest":  # what cannot be decoded came from the patch
                raise ApiError(422, "Invalid", f' "" is invalid: patch: Invalid value: {error.message}') from None
            raise

    def _delete(self, asked: Route, request: Request) -> Response:
        live = self._existing(asked)
        options = self._body(request) if request.body else {}
        wanted = options.get("preconditions") or {}
        check_preconditions(asked.kind, live, wanted.get("uid"), wanted.get("resourceVersion"))
        dry_run = self._author(asked, request).dry_run or options.get("dryRun") == ["All"]
        orphan = "Orphan" in (options.get("propagationPolicy"), request.query.get("propagationPolicy"))
        gone = self._writer.delete(asked.kind, live, dry_run=dry_run, orphan=orphan)
        if "deletionTimestamp" in gone["metadata"]:
            return json_response(gone)
        about = {
            "name": asked.name,
            "group": asked.kind.group,
            "kind": asked.kind.plural,
            "uid": gone["metadata"]["uid"],
        }
        return json_response(
            {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": about}
        )

    def _delete_all(self, asked: Route, request: Request) -> Response:
        wanted, dry_run = matching(request.query), self._author(asked, request).dry_run
        found = [item for item in self._store.all(asked.kind, asked.namespace) if wanted(item)]
        for item in found:
            self._writer.delete(asked.kind, item, dry_run=dry_run)
        return json_response(
            {"kind": f"{asked.kind.name}List", "apiVersion": asked.kind.api_version, "metadata": {}, "items": found}
        )

    def _metrics(self, asked: Route, request: Request) -> Response:
        wanted = matching(request.query)
        items = [item for item in self._pod_metrics(asked.namespace) if wanted(item)]
        if asked.name:
            found = next((item for item in items if item["metadata"]["name"] == asked.name), None)
            if found is None:
                raise not_found(asked.kind, f"{asked.namespace}/{asked.name}")
            return json_response(found)
        listing = {"kind": "PodMetricsList", "apiVersion": asked.kind.api_version, "metadata": {}, "items": items}
        if wants_table(request.headers.get("accept", "")):
            listing = as_table(asked.kind, listing, self._writer.clock.now_ms())
        return json_response(listing)

    def _review(self, request: Request, user: str) -> Any:
        review = self._body(request)
        asked = (review.get("spec") or {}).get("resourceAttributes") or {}
        resource = "/".join(part for part in (asked.get("resource", ""), asked.get("subresource", "")) if part)
        action = Action(
            asked.get("verb", ""), asked.get("group", ""), resource, asked.get("namespace", ""), asked.get("name", "")
        )
        return {**review, "status": {"allowed": self._access.allows(user, action)}}

    def _existing(self, asked: Route) -> Object:
        item = self._store.get(asked.kind, asked.namespace, asked.name)
        if item is None:
            raise not_found(asked.kind, asked.name)
        return item

    def _body(self, request: Request) -> Any:
        patch_type = request.headers.get("content-type", "").partition(";")[0].strip()
        if request.method == "PATCH" and patch_type not in patching.PATCH_TYPES:
            raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type")
        value = patching.body_value(request.body, request.headers.get("content-type", ""))
        if request.method != "PATCH" and not isinstance(value, dict):
            raise bad_request("the object provided is unrecognized")
        return value

    def _author(self, asked: Route, request: Request) -> Author:
        dry_run = request.query.get("dryRun", "")
        if dry_run not in ("", "All"):
            raise _options_invalid("dryRun", f'Unsupported value: ["{dry_run}"]: supported values: "All"')
        applying = request.headers.get("content-type", "").startswith(patching.APPLY_PATCH)
        manager = request.query.get("fieldManager") or request.headers.get("user-agent", "unknown").partition("/")[0]
        return Author(
            manager=manager,
            operation="Apply" if applying else "Update",
            subresource=asked.subresource,
            dry_run=dry_run == "All",
        )


def _options_invalid(field: str, message: str) -> ApiError:
    return ApiError(422, "Invalid", f'PatchOptions.meta.k8s.io "" is invalid: {field}: {message}')
