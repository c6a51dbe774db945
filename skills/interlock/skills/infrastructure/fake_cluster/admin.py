"""The admin's endpoint: faults, the clock, the world, what was asked of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from interlock.skills.infrastructure.fake_cluster.access import ADMIN
from interlock.skills.infrastructure.fake_cluster.faults import Fault
from interlock.skills.infrastructure.fake_cluster.statuses import ApiError, bad_request
from interlock.skills.infrastructure.fake_cluster.wire import Request, Response, json_response
from interlock.skills.infrastructure.fake_cluster.world.settings import WorldSettings

if TYPE_CHECKING:
    from interlock.skills.infrastructure.fake_cluster.server import Server

_LONGEST_STEP_MS = 24 * 3_600_000


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far the clock goes."""

    ms: int


class Admin:
    """Paths under /_admin/: only the admin's token opens them."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def answer(self, request: Request, user: str) -> Response:
        """Raises ApiError."""
        if user != ADMIN:
            raise ApiError(403, "Forbidden", f'User "{user}" cannot {request.method} path "{request.path}"')
        try:
            return json_response(self._do(request.method, request.path.removeprefix("/_admin/"), request.body))
        except msgspec.DecodeError as error:
            raise bad_request(str(error)) from None

    def _do(self, method: str, path: str, body: bytes) -> Any:
        server = self._server
        match method, path:
            case "POST", "faults":
                server.faults.script(msgspec.json.decode(body, type=list[Fault]))
            case "DELETE", "faults":
                server.faults.clear()
            case "GET", "faults":
                return [msgspec.to_builtins(fault) for fault in server.faults.left()]
            case "POST", "step":
                step = msgspec.json.decode(body, type=Step)
                if not 0 <= step.ms <= _LONGEST_STEP_MS:
                    raise bad_request(f"ms is 0 to {_LONGEST_STEP_MS}, not {step.ms}")
                server.world.step(step.ms)
            case "POST", "world":
                server.world.configure(msgspec.json.decode(body, type=WorldSettings))
            case "POST", "access":
                server.access.load(msgspec.json.decode(body, type=list[dict[str, Any]]))
            case "POST", "compact":
                server.store.compact()
            case "GET", "requests":
                return [msgspec.to_builtins(seen) for seen in server.seen]
            case "DELETE", "requests":
                server.seen.clear()
            case "GET", "clock":
                pass
            case _:
                raise ApiError(404, "NotFound", f"no admin path {method} {path}")
        return {"now_ms": server.clock.now_ms(), "resource_version": str(server.store.version)}
