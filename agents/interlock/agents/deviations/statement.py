"""What people and tools say of deviations, signed: that one is resolved, or how deterministic a replay was. Pure.

Resolving is for humans alone. A figure of determinism may come from whoever replays: a human or the auditor.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from interlock.envelope.amounts import Timestamp, time_ms, timestamp
from interlock.envelope.canonical import canonical
from interlock.envelope.ids import AgentId, Token, role_of
from interlock.envelope.keys import SigningKey
from interlock.envelope.model import KeyId, Signature
from interlock.envelope.signed_document import check_signer, sign_document
from interlock.envelope.signing import DEVIATION_DOMAIN
from interlock.envelope.trust import Trust
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import Checked

Verb = Literal["resolve", "report"]
MAY: dict[str, tuple[str, ...]] = {"resolve": ("human",), "report": ("human", "auditor")}
MAX_BYTES = 8_192
SKEW_MS = 60_000


class Statement(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """verb resolve: subject is the deviation's id. verb report: subject is the goal that was replayed, per_mille how many of
    a thousand of its decisions came out the same.
    """

    workspace: Token
    verb: Verb
    subject: Annotated[str, Meta(max_length=128)]
    per_mille: Annotated[int, Meta(ge=0, le=1000)] = 0
    why: Annotated[str, Meta(max_length=1_000)]
    by: AgentId
    at: Timestamp
    key_id: KeyId
    signature: Signature | None = None


_decoder = msgspec.json.Decoder(Statement)


def sign_statement(
    key: SigningKey, *, workspace: str, verb: Verb, subject: str, why: str, by: str, at_ms: int, per_mille: int = 0
) -> bytes:
    """The wire form."""
    bare = Statement(
        workspace=workspace,
        verb=verb,
        subject=subject,
        per_mille=per_mille,
        why=why[:1_000],
        by=by,
        at=timestamp(at_ms),
        key_id=key.key_id,
    )
    return canonical(sign_document(bare, DEVIATION_DOMAIN, key))


def read_statement(data: bytes) -> Statement | None:
    """The statement that these bytes are, None for anything else; nothing is said of its signature."""
    if len(data) > MAX_BYTES:
        return None
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def check_statement(statement: Statement, trust: Trust, seen_ms: int) -> Checked:
    """Whether it is to be believed. seen_ms: when it was stored."""
    at_ms = time_ms(statement.at)
    signer = check_signer(statement, DEVIATION_DOMAIN, trust, seen_ms)
    if signer.reason is not Reason.OK:
        return signer
    if statement.workspace != trust.workspace:
        return Checked(Reason.WRONG_WORKSPACE, f"a statement for workspace {statement.workspace}")
    if at_ms > seen_ms + SKEW_MS:
        return Checked(Reason.FROM_FUTURE, "dated ahead of the clock")
    if role_of(statement.by) not in MAY[statement.verb]:
        return Checked(Reason.POLICY_DENIED, f"{statement.by} may not {statement.verb}")
    return Checked(Reason.OK)
