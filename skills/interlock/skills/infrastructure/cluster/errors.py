"""What can go wrong with a cluster: whether to try again, and whether it may have happened anyway."""

from __future__ import annotations

from interlock.skills.errors import SkillsError


class ClusterError(SkillsError):
    """Base. may_have_happened: a write may have been done."""

    code = "cluster_failed"

    def __init__(self, detail: str, mend: str = "", *, retry_after_ms: int = 0) -> None:
        super().__init__(self.code, detail, mend)
        self.retry_after_ms = retry_after_ms


class Missing(ClusterError):
    """404: no such object, or not any more."""

    code = "object_not_found"


class Changed(ClusterError):
    """409: the object is not the one, or not the version, that the request was made for."""

    code = "object_changed"


class Expired(ClusterError):
    """410: the version a watch or list continues from is forgotten. Reading anew helps."""

    code = "version_expired"


class Throttled(ClusterError):
    """429: not done, because of too many requests. retry_after_ms: what the server asks for."""

    code = "cluster_throttles"
    retryable = True


class NotAllowed(ClusterError):
    """401 or 403: the cluster does not know or does not allow this account."""

    code = "cluster_forbids"


class NotAccepted(ClusterError):
    """400, 405, 415, 422: the request is wrong, and will stay so."""

    code = "cluster_refused"


class ServerFailed(ClusterError):
    """5xx. A write may have been done before the failure."""

    code = "cluster_unavailable"
    retryable = True
    may_have_happened = True


class NotReached(ClusterError):
    """No connection: nothing was sent."""

    code = "cluster_not_reached"
    retryable = True


class NoAnswer(ClusterError):
    """Sent, and no whole answer came: a timeout or a cut connection."""

    code = "cluster_silent"
    retryable = True
    may_have_happened = True


_BY_STATUS: dict[int, type[ClusterError]] = {
    400: NotAccepted,
    401: NotAllowed,
    403: NotAllowed,
    404: Missing,
    405: NotAccepted,
    409: Changed,
    410: Expired,
    415: NotAccepted,
    422: NotAccepted,
    429: Throttled,
}
_LONGEST_MESSAGE = 300


def from_status(status: int, message: str, retry_after: str | None) -> ClusterError:
    """The error of an HTTP answer. retry_after: the header, in seconds; dates and nonsense count as none."""
    kind = _BY_STATUS.get(status) or (ServerFailed if status >= 500 else NotAccepted)
    mend = "Give the account the role of deploy/rbac" if kind is NotAllowed else ""
    after_ms = int(retry_after) * 1000 if retry_after and retry_after.isdecimal() and len(retry_after) < 7 else 0
    return kind(f"{status}: {message[:_LONGEST_MESSAGE]}", mend, retry_after_ms=after_ms)
