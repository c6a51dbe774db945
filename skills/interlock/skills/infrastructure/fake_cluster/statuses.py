"""Errors as the API tells them: `Status` objects (Kubernetes API conventions, "Response Status Kind")."""

from __future__ import annotations

from typing import Any

from interlock.skills.infrastructure.fake_cluster.kinds import Kind
from interlock.skills.infrastructure.fake_cluster.wire import Response, json_response


class ApiError(Exception):
    """A request that is refused. code: HTTP status; reason: the API's word; retry_after_s: what the header says."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: dict[str, Any] | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = dict(details or {})
        self.retry_after_s = retry_after_s
        if retry_after_s is not None:
            self.details["retryAfterSeconds"] = retry_after_s

    def status(self) -> dict[str, Any]:
        """The Status object."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if self.details:
            status["details"] = self.details
        status["code"] = self.code
        return status

    def response(self) -> Response:
        """The HTTP answer."""
        headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        return json_response(self.status(), self.code, headers)


def not_found(kind: Kind, name: str) -> ApiError:
    """404 for an object."""
    return ApiError(404, "NotFound", f'{kind.key} "{name}" not found', details=_about(kind, name))


def already_exists(kind: Kind, name: str) -> ApiError:
    """409 for a create."""
    return ApiError(409, "AlreadyExists", f'{kind.key} "{name}" already exists', details=_about(kind, name))


def conflict(kind: Kind, name: str, why: str = "") -> ApiError:
    """409 for a write that another writer was faster than, or whose precondition does not hold."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {kind.key} "{name}": {why}'
    return ApiError(409, "Conflict", message, details=_about(kind, name))


def invalid(kind: Kind, name: str, causes: list[tuple[str, str, str]]) -> ApiError:
    """422. causes: (field, reason, message), all of them."""
    told = [f"{field}: {message}" for field, _, message in causes]
    text = told[0] if len(told) == 1 else "[" + ", ".join(told) + "]"
    about = _about(kind, name) | {
        "kind": kind.name,
        "causes": [{"reason": reason, "message": message, "field": field} for field, reason, message in causes],
    }
    return ApiError(422, "Invalid", f'{kind.name}.{kind.group} "{name}" is invalid: {text}', details=about)


def expired(
    message: str = "The provided continue parameter is too old to display a consistent list result.",
) -> ApiError:
    """410: the history that was asked for is compacted away."""
    return ApiError(410, "Expired", message)


def bad_request(message: str) -> ApiError:
    """400."""
    return ApiError(400, "BadRequest", message)


def _about(kind: Kind, name: str) -> dict[str, Any]:
    about: dict[str, Any] = {"name": name, "kind": kind.plural}
    if kind.group:
        about["group"] = kind.group
    return about
