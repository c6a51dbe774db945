"""Orders to put a dead letter back, signed (BUS-07). Pure.

A receiver refuses a message id that it has seen at another place of the stream. What is put back is the same envelope under
another message id, which only an order makes good: it names the envelope's bytes by their digest, where they were
stored, and how often they have been put back. The message id follows from the order, so that an order is used once: the
stream stores an id once for longer than any envelope lives.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from interlock.envelope.amounts import MAX_INT, Timestamp, time_ms, timestamp
from interlock.envelope.canonical import canonical
from interlock.envelope.ids import AgentId, Digest, Token, role_of
from interlock.envelope.keys import SigningKey, base64url, from_base64url
from interlock.envelope.model import KeyId, Signature
from interlock.envelope.signed_document import check_signer, sign_document
from interlock.envelope.signing import REDRIVE_DOMAIN
from interlock.envelope.trust import Trust
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import OK, Checked

CAPABILITY = "dead:redrive"
MAX_TEXT = 4_096
SKEW_MS = 60_000


class RedriveOrder(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """digest: SHA-256 of the dead letter's bytes; stream, sequence: where they were stored; number: 1 for the first time
    that they are put back. by: whose key signed it. at: when.
    """

    workspace: Token
    stream: Annotated[str, Meta(max_length=32)]
    sequence: Annotated[int, Meta(ge=0, le=MAX_INT)]
    digest: Digest
    number: Annotated[int, Meta(ge=1, le=1_000)]
    why: Annotated[str, Meta(max_length=500)]
    by: AgentId
    at: Timestamp
    key_id: KeyId
    signature: Signature | None = None

    @property
    def message_id(self) -> str:
        """What the copy is stored under."""
        return f"redrive-{self.digest}-{self.number}"


_decoder = msgspec.json.Decoder(RedriveOrder)


def sign_redrive(
    key: SigningKey,
    *,
    workspace: str,
    stream: str,
    sequence: int,
    digest: str,
    number: int,
    why: str,
    by: str,
    at_ms: int,
) -> RedriveOrder:
    """The order, signed."""
    order = RedriveOrder(
        workspace=workspace,
        stream=stream,
        sequence=sequence,
        digest=digest,
        number=number,
        why=why[:500],
        by=by,
        at=timestamp(at_ms),
        key_id=key.key_id,
    )
    return sign_document(order, REDRIVE_DOMAIN, key)


def order_text(order: RedriveOrder) -> str:
    """As a header carries it: base64url of the canonical JSON."""
    return base64url(canonical(order))


def read_redrive(text: str) -> RedriveOrder | None:
    """The order that a header is, None for anything else; nothing is said of its signature."""
    if len(text) > MAX_TEXT:
        return None
    try:
        data = from_base64url(text)
        order = _decoder.decode(data)
        time_ms(order.at)
        return order if canonical(order) == data else None
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError):
        return None


def check_redrive(order: RedriveOrder, trust: Trust, seen_ms: int) -> Checked:
    """Whether it was given by somebody who may. seen_ms: when it was received or, if it was, stored."""
    if order.workspace != trust.workspace:
        return Checked(Reason.WRONG_WORKSPACE, f"an order for workspace {order.workspace}")
    signer = check_signer(order, REDRIVE_DOMAIN, trust, seen_ms)
    if signer.reason is not Reason.OK:
        return signer
    if time_ms(order.at) > seen_ms + SKEW_MS:
        return Checked(Reason.FROM_FUTURE, "dated ahead of the clock")
    key = trust.find(order.key_id)
    if key is None or not may_redrive(order.by, key.capabilities):
        return Checked(Reason.POLICY_DENIED, f"{order.by} may not put dead letters back")
    return OK


def may_redrive(by: str, capabilities: tuple[str, ...]) -> bool:
    """Humans, and whoever the trust store gives it to."""
    return role_of(by) == "human" or any(fnmatchcase(CAPABILITY, held) for held in capabilities)
