"""Which of the broker's errors are worth another try."""

from __future__ import annotations

import pytest

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
from interlock.bus.jetstream.broker_errors import ApiError, api_error

TABLE: list[tuple[int, int, type[BusError]]] = [
    (400, 10071, Conflict),
    (400, 10164, Conflict),
    (503, 10077, StoreFull),
    (503, 10023, StoreFull),
    (404, 10037, NoMessage),
    (404, 10059, NotFound),
    (409, 10158, Unavailable),  # found by a campaign: two with one message id, the first not decided on yet
    (429, 10167, Unavailable),
    (500, 10009, Unavailable),
    (503, 10008, Unavailable),
    (500, 10052, Refused),  # a configuration that makes no sense, which is an internal error to the broker
    (400, 10054, Refused),
    (400, 10026, TooManyConsumers),
    (403, 0, Refused),
]


@pytest.mark.parametrize(("code", "number", "expected"), TABLE)
def test_errors_of_the_api(code: int, number: int, expected: type[BusError]) -> None:
    error = api_error(ApiError(code, number, "why"), "publish to x")
    assert type(error) is expected
    assert error.retryable is (expected in (Conflict, StoreFull, Unavailable))
    assert str(error).startswith(f"publish to x: why ({number or code})")


@pytest.mark.parametrize(("number", "what"), [(10049, "stream"), (10012, "consumer")])
def test_a_disk_without_room_for_a_store_is_full(number: int, what: str) -> None:
    """Seen on a full disk; told as "the broker refused", without a mend."""
    error = api_error(ApiError(500, number, f"error creating store for {what}"), "STREAM.CREATE.S")
    assert type(error) is StoreFull
    assert error.mend.startswith("Free space")
    assert type(api_error(ApiError(500, number, "something else"), "STREAM.CREATE.S")) is Refused
