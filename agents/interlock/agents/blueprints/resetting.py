"""Closing a breaker is a human's order, signed like any other (SC-010): a file that anybody can write says nothing. An order
counts once, for one service of one workspace, and only while it is fresh, so that none can be kept for the next failure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from interlock.bus.clock import Clock
from interlock.envelope.amounts import Timestamp, time_ms, timestamp
from interlock.envelope.canonical import canonical
from interlock.envelope.ids import AgentId, Token, role_of
from interlock.envelope.keys import SigningKey
from interlock.envelope.model import KeyId, Signature
from interlock.envelope.signed_document import check_signer, sign_document
from interlock.envelope.signing import RESET_DOMAIN
from interlock.envelope.trust import Trust
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import OK, Checked

MAX_BYTES = 8_192
MAX_AGE_MS = 3_600_000
SKEW_MS = 60_000


class ResetOrder(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """Closes the breaker of a service, and that of all services. by: whose key signed it."""

    workspace: Token
    service: Annotated[str, Meta(min_length=1, max_length=253)]
    why: Annotated[str, Meta(max_length=1_000)]
    by: AgentId
    at: Timestamp
    key_id: KeyId
    signature: Signature | None = None


_decoder = msgspec.json.Decoder(ResetOrder)


def sign_reset(key: SigningKey, *, workspace: str, service: str, why: str, by: str, at_ms: int) -> bytes:
    """The order as it lies in a file."""
    order = ResetOrder(
        workspace=workspace, service=service, why=why[:1_000], by=by, at=timestamp(at_ms), key_id=key.key_id
    )
    return canonical(sign_document(order, RESET_DOMAIN, key))


def check_reset(order: ResetOrder, trust: Trust, service: str, after_ms: int, now_ms: int) -> Checked:
    """Whether the order is to be obeyed. after_ms: when the last one that was obeyed was signed."""
    at_ms = time_ms(order.at)
    signer = check_signer(order, RESET_DOMAIN, trust, now_ms)
    if signer.reason is not Reason.OK:
        return signer
    if order.workspace != trust.workspace:
        return Checked(Reason.WRONG_WORKSPACE, f"an order for workspace {order.workspace}")
    if role_of(order.by) != "human":
        return Checked(Reason.POLICY_DENIED, f"{order.by} is no human")
    if order.service != service:
        return Checked(Reason.POLICY_DENIED, f"an order for {order.service}")
    if at_ms > now_ms + SKEW_MS:
        return Checked(Reason.FROM_FUTURE, "dated ahead of the clock")
    if at_ms <= after_ms:
        return Checked(Reason.REPLAYED, "an order as old as the last one, or older")
    if now_ms - at_ms > MAX_AGE_MS:
        return Checked(Reason.EXPIRED, f"signed {(now_ms - at_ms) // 60_000} minutes ago; at most 60")
    return OK


class Resets:
    """Judges the orders of a workspace. trust: read anew for each, so that a revoked key closes nothing."""

    def __init__(self, trust: Callable[[], Trust], clock: Clock) -> None:
        self._trust = trust
        self._clock = clock

    def judge(self, data: bytes, service: str, after_ms: int) -> tuple[ResetOrder | None, Checked]:
        """The order that these bytes are, if they are one, and whether it counts. Raises UserError without a trust store."""
        try:
            order = _decoder.decode(data) if len(data) <= MAX_BYTES else None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            order = None
        if order is None or canonical(order) != data:
            return None, Checked(Reason.MALFORMED, "no signed order")
        return order, check_reset(order, self._trust(), service, after_ms, self._clock.now_ms())
