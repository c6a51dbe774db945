"""Faults that an admin scripts: which requests go wrong, how often, and how."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from interlock.skills.infrastructure.fake_cluster.statuses import ApiError

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which requests: empty fields match all. after: how many matching ones pass first; times: how many are hit then.

    What happens, in this order:
    interfere: this merge patch is written by another client before the request is looked at.
    vanish: the object is deleted before the request is looked at.
    delay_ms: the answer is late.
    status, retry_after_s, message: this error instead of the work.
    drop: the connection is cut, `before` the work or `after` it.
    hang: no answer ever, `before` or `after` the work.
    keep_bytes: the answer is cut after so many bytes.
    expire_watch: a watch ends with ERROR 410 after so many events; cut_watch: its connection is cut after so many.
    """

    verb: str = ""
    resource: str = ""
    subresource: str | None = None
    namespace: str = ""
    name: str = ""
    after: int = 0
    times: int = 1
    interfere: dict[str, Any] | None = None
    vanish: bool = False
    delay_ms: int = 0
    status: int = 0
    retry_after_s: int | None = None
    message: str = ""
    drop: str = ""
    hang: str = ""
    keep_bytes: int | None = None
    expire_watch: int | None = None
    cut_watch: int | None = None

    def error(self) -> ApiError | None:
        """What is answered instead of the work."""
        if not self.status:
            return None
        reason = _REASONS.get(self.status, "InternalError")
        return ApiError(self.status, reason, self.message or f"scripted: {reason}", retry_after_s=self.retry_after_s)


class Faults:
    """The script. Each fault counts its own matches."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._seen: list[int] = []

    def script(self, faults: list[Fault]) -> None:
        """Adds to what is scripted."""
        self._faults += faults
        self._seen += [0] * len(faults)

    def clear(self) -> None:
        self._faults, self._seen = [], []

    def left(self) -> list[Fault]:
        """Those that still have hits to come."""
        return [fault for fault, seen in zip(self._faults, self._seen, strict=True) if seen < fault.after + fault.times]

    def next(self, verb: str, resource: str, subresource: str, namespace: str, name: str) -> Fault | None:
        """The first fault that hits this request."""
        hit = None
        for at, fault in enumerate(self._faults):
            if not _matches(fault, verb, resource, subresource, namespace, name):
                continue
            if hit is None and fault.after <= self._seen[at] < fault.after + fault.times:
                hit = fault
            elif self._seen[at] >= fault.after:
                continue
            self._seen[at] += 1
        return hit


def _matches(fault: Fault, verb: str, resource: str, subresource: str, namespace: str, name: str) -> bool:
    pairs = ((fault.verb, verb), (fault.resource, resource), (fault.namespace, namespace), (fault.name, name))
    if any(wanted and wanted != got for wanted, got in pairs):
        return False
    return fault.subresource is None or fault.subresource == subresource
