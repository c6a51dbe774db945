"""One server: who asks, whether a fault is scripted, what he may, and then the work."""

from __future__ import annotations

import asyncio
from collections import deque

from interlock.skills.infrastructure.fake_cluster import discovery
from interlock.skills.infrastructure.fake_cluster.access import Access
from interlock.skills.infrastructure.fake_cluster.admin import Admin, Seen
from interlock.skills.infrastructure.fake_cluster.faults import Fault, Faults
from interlock.skills.infrastructure.fake_cluster.resources import Resources, Route, route
from interlock.skills.infrastructure.fake_cluster.statuses import ApiError
from interlock.skills.infrastructure.fake_cluster.store import Store
from interlock.skills.infrastructure.fake_cluster.times import ServerClock
from interlock.skills.infrastructure.fake_cluster.wire import Cut, Request, Response, json_response
from interlock.skills.infrastructure.fake_cluster.world.cluster import World
from interlock.skills.infrastructure.fake_cluster.writing import Author, Writer
from interlock.skills.infrastructure.patches import merge_patch

_KEPT_REQUESTS = 10_000
_NO_FAULT = Fault()


class Server:
    """A cluster of its own: objects, clock, world, faults, access."""

    def __init__(self, *, tokens: dict[str, str], clock: ServerClock, bookmark_s: float = 1.0) -> None:
        self.clock = clock
        self.store = Store()
        self.writer = Writer(self.store, clock)
        self.world = World(self.writer)
        self.access = Access(tokens)
        self.faults = Faults()
        self.seen: deque[Seen] = deque(maxlen=_KEPT_REQUESTS)
        self._resources = Resources(self.store, self.writer, self.access, self.world.pod_metrics, bookmark_s)
        self._admin = Admin(clock, self.store, self.world, self.access, self.faults, self.seen)

    async def handle(self, request: Request) -> Response:
        """Every answer of the server, errors included."""
        try:
            user = self.access.user(request.headers.get("authorization", ""))
            if request.path.startswith("/_admin/"):
                return self._admin.answer(request, user)
            if request.path.startswith("/prometheus/"):
                return self.world.prometheus(request.path, request.query, request.body)
            asked = route(request)
            if asked is None:
                return _about(request)
            return await self._resource(asked, request, user)
        except ApiError as error:
            return error.response()

    async def _resource(self, asked: Route, request: Request, user: str) -> Response:
        dry_run = request.query.get("dryRun") == "All"
        self.seen.append(
            Seen(
                verb=asked.verb,
                resource=asked.kind.plural,
                subresource=asked.subresource,
                namespace=asked.namespace,
                name=asked.name,
                user=user,
                dry_run=dry_run,
            )
        )
        fault = self.faults.next(asked.verb, asked.kind.plural, asked.subresource, asked.namespace, asked.name)
        if fault is not None:
            await self._before(fault, asked)
            if fault.hang == "before":
                return Response(silent=True)
            if error := fault.error():
                raise error
        self.access.check(user, asked.action)
        response = self._resources.answer(asked, request, user, fault or _NO_FAULT)
        self.world.settle()
        return _after(fault or _NO_FAULT, response)

    async def _before(self, fault: Fault, asked: Route) -> None:
        live = self.store.get(asked.kind, asked.namespace, asked.name) if asked.name else None
        if fault.interfere is not None and live is not None:
            self.writer.update(asked.kind, live, merge_patch(live, fault.interfere), Author(manager="somebody-else"))
        if fault.vanish and live is not None:
            self.writer.delete(asked.kind, live)
        self.world.settle()
        if fault.delay_ms:
            await asyncio.sleep(fault.delay_ms / 1000)
        if fault.drop == "before":
            raise Cut


def _about(request: Request) -> Response:
    told = discovery.document(request.path)
    if told is None or request.method != "GET":
        raise ApiError(404, "NotFound", "the server could not find the requested resource")
    return json_response(told)


def _after(fault: Fault, response: Response) -> Response:
    if fault.drop == "after":
        raise Cut
    response.silent = fault.hang == "after"
    response.keep_bytes = fault.keep_bytes
    return response
