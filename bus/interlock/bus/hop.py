"""The words of the bus: what comes in, what handles it, what comes out. Read this first (docs/architecture/bus.md)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from interlock.bus.redriving import is_redriven
from interlock.bus.transport import Message
from interlock.envelope.amounts import ZERO, Amount
from interlock.envelope.children import Origin, origin_of
from interlock.envelope.model import Envelope
from interlock.envelope.verdict import Reason, Verdict

if TYPE_CHECKING:
    from interlock.bus.telemetry.hops import HopSpan


class Disposition(StrEnum):
    DONE = "done"
    DEAD = "dead"
    RETRY = "retry"


class Outcome(Struct, frozen=True):
    """How handling a hop ended. DONE: acknowledge. DEAD: dead-letter for this reason. RETRY: deliver again later.
    spent: what the work really cost, to be settled in the ledger.
    """

    disposition: Disposition
    reason: Reason = Reason.OK
    detail: str = ""
    spent: Amount = ZERO


DONE = Outcome(Disposition.DONE)


class Hop:
    """One envelope on its way through the receiving onion. envelope and digest are there once `decode` has read them;
    authentic is set once the signature has: only then may the sender be told anything. policy is the policies' verdict
    once they have judged. again: it may have been handled before: in an earlier delivery, held by a halt in this one, or
    before it was put back from the dead letters. span: where somebody traces it.
    """

    __slots__ = ("again", "authentic", "digest", "envelope", "message", "now_ms", "policy", "span")
    envelope: Envelope

    def __init__(self, message: Message, now_ms: int, *, again: bool = False) -> None:
        self.message = message
        self.again = again or message.delivered > 1 or is_redriven(message)
        self.now_ms = now_ms
        self.digest = ""
        self.authentic = False
        self.policy: Verdict | None = None
        self.span: HopSpan | None = None

    @property
    def parsed(self) -> Envelope | None:
        """None: it was not, or could not be, decoded; then `envelope` raises AttributeError."""
        return getattr(self, "envelope", None)

    @property
    def origin(self) -> Origin:
        """The envelope as a parent of what is made from it."""
        return origin_of(self.envelope, self.digest)


Handler = Callable[[Hop], Awaitable[Outcome]]
Middleware = Callable[[Handler], Handler]


class Refusal(Exception):
    """Raised by handlers that refuse a hop for good: it is dead-lettered under this reason."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Postpone(Exception):
    """Raised by handlers that cannot work now (broker or ledger away, a lost race): delivered again with backoff."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
