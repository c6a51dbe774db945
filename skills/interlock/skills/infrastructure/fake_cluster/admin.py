"""The admin's endpoint: faults, the clock, the world, what was asked of the self."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import msgspec

from interlock.skills.infrastructure.fake_cluster.access import ADMIN, Access
from interlock.skills.infrastructure.fake_cluster.faults import Fault, Faults
from interlock.skills.infrastructure.fake_cluster.statuses import ApiError, bad_request
from interlock.skills.infrastructure.fake_cluster.store import Store
from interlock.skills.infrastructure.fake_cluster.times import ServerClock
from interlock.skills.infrastructure.fake_cluster.wire import Request, Response, json_response
from interlock.skills.infrastructure.fake_cluster.world.cluster import World
from interlock.skills.infrastructure.fake_cluster.world.settings import WorldSettings

_LONGEST_STEP_MS = 24 * 3_600_000


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far the clock goes."""

    ms: int


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it arrived, whatever became of it."""

    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    user: str
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Admin:
    """Paths under /_admin/: only the admin's token opens them. seen: the latest requests."""

    clock: ServerClock
    store: Store
    world: World
    access: Access
    faults: Faults
    seen: deque[Seen]

    def answer(self, request: Request, user: str) -> Response:
        """Raises ApiError."""
        if user != ADMIN:
            raise ApiError(403, "Forbidden", f'User "{user}" cannot {request.method} path "{request.path}"')
        try:
            return json_response(self._do(request.method, request.path.removeprefix("/_admin/"), request.body))
        except msgspec.DecodeError as error:
            raise bad_request(str(error)) from None

    def _do(self, method: str, path: str, body: bytes) -> Any:
        match method, path:
            case "POST", "faults":
                self.faults.script(msgspec.json.decode(body, type=list[Fault]))
            case "DELETE", "faults":
                self.faults.clear()
            case "GET", "faults":
                return [msgspec.to_builtins(fault) for fault in self.faults.left()]
            case "POST", "step":
                step = msgspec.json.decode(body, type=Step)
                if not 0 <= step.ms <= _LONGEST_STEP_MS:
                    raise bad_request(f"ms is 0 to {_LONGEST_STEP_MS}, not {step.ms}")
                self.world.step(step.ms)
            case "POST", "world":
                self.world.configure(msgspec.json.decode(body, type=WorldSettings))
            case "POST", "access":
                self.access.load(msgspec.json.decode(body, type=list[dict[str, Any]]))
            case "POST", "compact":
                self.store.compact()
            case "GET", "requests":
                return [msgspec.to_builtins(seen) for seen in self.seen]
            case "DELETE", "requests":
                self.seen.clear()
            case "GET", "clock":
                pass
            case _:
                raise ApiError(404, "NotFound", f"no admin path {method} {path}")
        return {"now_ms": self.clock.now_ms(), "resource_version": str(self.store.version)}
