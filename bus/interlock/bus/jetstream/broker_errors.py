"""The broker's and nats-py's errors as ours (numbers: nats-server's server/errors.json)."""

from __future__ import annotations

import nats.errors
from msgspec import Struct

from interlock.bus.errors import (
    BusError,
    Conflict,
    NoMessage,
    NotFound,
    Refused,
    StoreFull,
    TooManyConsumers,
    Unavailable,
)

_WRONG_LAST_SEQUENCE = (10071, 10164)
_NO_MESSAGE = 10037
_MAX_CONSUMERS = 10026
_STORE_FULL = (10023, 10047, 10077)
_NO_STORE = "error creating store"  # of a stream or a consumer, under numbers that stand for much else
# A cluster that has not decided on the first of two with one message id yet; a server that does not lead any more; too much
# at a time: the next try may be answered otherwise.
_NOT_NOW = (10158, 10009, 10167)


class ApiError(Struct):
    """nats-server's error object."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class Answer(Struct):
    """An API answer of which only failure matters."""

    error: ApiError | None = None


def api_error(error: ApiError, what: str) -> BusError:
    """The broker's JSON error as one of ours."""
    text = f"{what}: {error.description} ({error.err_code or error.code})"
    if error.err_code in _WRONG_LAST_SEQUENCE:
        return Conflict(text)
    if error.err_code in _STORE_FULL or error.description.startswith(_NO_STORE):
        return StoreFull(text, "Free space or raise the limit, then restart the broker")
    if error.err_code == _NO_MESSAGE:
        return NoMessage(text)
    if error.err_code == _MAX_CONSUMERS:
        return TooManyConsumers(
            text, "Raise max_consumers of its account; a workspace takes eleven, six of them on HOPS"
        )
    if error.code == 404:
        return NotFound(text, "Run `interlock up` first")
    if error.code == 503 or error.err_code in _NOT_NOW:
        return Unavailable(text)
    return Refused(text)


def client_error(error: Exception, what: str) -> BusError:
    """nats-py's exception as one of ours."""
    if isinstance(error, nats.errors.MaxPayloadError):
        return Refused(f"{what}: larger than the broker's max_payload", "Put large content into an artefact")
    if isinstance(error, nats.errors.BadSubjectError):
        return Refused(f"{what[:80]!r} is no valid subject")
    return Unavailable(f"{what}: {str(error) or type(error).__name__}")
