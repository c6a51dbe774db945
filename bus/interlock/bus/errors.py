"""What can go wrong on the bus: each class says whether to try again, and whether it may have happened anyway."""

from __future__ import annotations

from interlock.envelope.failure import Failure


class BusError(Failure):
    """Base."""

    reason = "bus_error"


class Unavailable(BusError):
    """No broker, no stream leader, no answer in time. What was sent may have arrived."""

    reason = "bus_unavailable"
    retryable = True
    may_have_happened = True


class NobodyListens(Unavailable):
    """No one hears the subject, and no stream takes it: what was sent is nowhere."""

    may_have_happened = False


class Conflict(BusError):
    """Another writer was first: the expected revision is not the last one."""

    reason = "revision_conflict"
    retryable = True


class Refused(BusError):
    """The broker said no for good: permissions, limits, unknown stream."""

    reason = "broker_refused"


class TooManyConsumers(Refused):
    """The broker's account, or the stream, takes no more consumers."""

    reason = "too_many_consumers"


class LoginRefused(BusError):
    """The broker does not know this key, or no longer."""

    reason = "login_refused"


class StoreFull(BusError):
    """The broker cannot store: disk or stream limits are reached."""

    reason = "store_full"
    retryable = True


class NotFound(BusError):
    """No such stream, message or object."""

    reason = "not_found"


class NoStream(NotFound):
    """Nobody has such a stream now: it was never made, or its servers are just electing who leads it."""

    retryable = True


class NoMessage(NotFound):
    """The stream is there, but no message such as was asked for."""


class IdTaken(BusError):
    """The broker dropped a publish as a repeat, but what it holds under that id are other bytes."""

    reason = "id_taken"


class ServerFailed(BusError):
    """The embedded server did not start, or its store is in use."""

    reason = "server_failed"


class StoreDamaged(ServerFailed):
    """The embedded server cannot read what it stored."""

    reason = "store_damaged"
