"""Control orders: halt or resume a scope, signed (GOV-07). Pure; what is in force follows in `halts`.

Anybody may be able to publish bytes; an order is believed only if a key of the trust store signed it that may give it.
Halting is for humans, the auditor, the orchestrator, and whoever holds `halt:<scope>`; resuming is for humans alone.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from interlock.envelope.amounts import MAX_INT, Timestamp, time_ms, timestamp
from interlock.envelope.canonical import canonical
from interlock.envelope.ids import AgentId, Token, is_agent_id, is_token, is_uuid7, role_of, sha256_hex
from interlock.envelope.keys import SigningKey
from interlock.envelope.model import KeyId, Signature
from interlock.envelope.signed_document import check_signer, sign_document
from interlock.envelope.signing import CONTROL_DOMAIN
from interlock.envelope.subjects import ROLES
from interlock.envelope.trust import Trust
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import Checked

Verb = Literal["halt", "resume"]
EVERYTHING, WORKSPACE = "everything", "workspace"
KINDS = ("role", "agent", "goal", "skill", "target")
SCOPES = f"{EVERYTHING}, {WORKSPACE}, role:R, agent:A, goal:ID, skill:S, target:T"
HALTERS = ("human", "auditor", "orchestrator")
ALL = "_all"
MAX_BYTES = 8_192
# How far ahead of its receiver's clock an order may be dated or numbered: else one order could outnumber all others.
SKEW_MS = 60_000
_TARGET = re.compile(r"[^\x00-\x1f\x7f]{1,512}")


class ControlOrder(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """by: whose key signed it. at: when. number: later orders of a scope have higher ones; about `at` in ms, so that
    nobody can number himself out of reach.
    """

    workspace: Token
    scope: Annotated[str, Meta(max_length=600)]
    verb: Verb
    why: Annotated[str, Meta(max_length=1_000)]
    by: AgentId
    at: Timestamp
    number: Annotated[int, Meta(ge=1, le=MAX_INT)]
    key_id: KeyId
    signature: Signature | None = None


_decoder = msgspec.json.Decoder(ControlOrder)


def scope_problem(scope: str) -> str:
    """What is wrong with a scope, empty if nothing."""
    if scope in (EVERYTHING, WORKSPACE):
        return ""
    kind, colon, name = scope.partition(":")
    known = {
        "role": is_token(name),
        "agent": is_agent_id(name),
        "goal": is_uuid7(name),
        "skill": is_token(name),
        "target": _TARGET.fullmatch(name) is not None,
    }
    if colon and known.get(kind):
        return ""
    if colon and kind in known:
        return f"{name[:80]!r} does not name a {kind}"
    return f"{scope[:80]!r} is no scope"


def nobody_in(scope: str) -> str:
    """Why a halt of this scope would stop nobody, empty if it may stop somebody: who mistypes in haste has to hear of it."""
    kind, _, name = scope.partition(":")
    if kind not in ("role", "agent") or role_of(name) in ROLES:
        return ""
    return f"there is no role {role_of(name)[:80]}, only {', '.join(ROLES)}"


def scope_key(workspace: str, scope: str) -> str:
    """Where KV `control` keeps the orders of a scope. Those of all workspaces lie under a name that no workspace has."""
    if scope == EVERYTHING:
        return f"{ALL}.{workspace}"
    kind, _, name = scope.partition(":")
    if not name:
        return f"{workspace}.{kind}"
    return f"{workspace}.{kind}.{sha256_hex(name.encode())[:32] if kind == 'target' else name}"


def is_in_place(order: ControlOrder, key: str) -> bool:
    """Whether a stored order lies where orders of its scope do: under another key it would outlive its resumption."""
    return key == scope_key(order.workspace, order.scope)


def sign_order(
    key: SigningKey, *, workspace: str, scope: str, verb: Verb, why: str, by: str, at_ms: int, after: int = 0
) -> bytes:
    """The wire form. after: the number of the scope's last order. Raises ValueError for what is no scope."""
    problem = scope_problem(scope)
    if problem:
        raise ValueError(problem)
    order = ControlOrder(
        workspace=workspace,
        scope=scope,
        verb=verb,
        why=why[:1_000],
        by=by,
        at=timestamp(at_ms),
        number=max(at_ms, after + 1),
        key_id=key.key_id,
    )
    return canonical(sign_document(order, CONTROL_DOMAIN, key))


def read_order(data: bytes) -> ControlOrder | None:
    """The order that these bytes are, None for anything else; nothing is said of its signature."""
    if len(data) > MAX_BYTES:
        return None
    try:
        order = _decoder.decode(data)
        return order if canonical(order) == data and not scope_problem(order.scope) else None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def check_order(order: ControlOrder, trust: Trust, seen_ms: int) -> Checked:
    """Whether the order is to be obeyed. seen_ms: when it was received or, if it was, stored."""
    key = trust.find(order.key_id)
    if key is None:  # before anything that costs: strangers may send many
        return Checked(Reason.UNKNOWN_KEY, f"{order.key_id} is not enrolled")
    at_ms = time_ms(order.at)
    signer = check_signer(order, CONTROL_DOMAIN, trust, seen_ms)
    if signer.reason is not Reason.OK:
        return signer
    if order.workspace != trust.workspace and order.scope != EVERYTHING:
        return Checked(Reason.WRONG_WORKSPACE, f"an order for workspace {order.workspace}")
    if max(at_ms, order.number) > seen_ms + SKEW_MS:
        return Checked(Reason.FROM_FUTURE, "dated or numbered ahead of the clock")
    if not may_give(order.verb, order.scope, order.by, key.capabilities):
        return Checked(Reason.POLICY_DENIED, f"{order.by} may not {order.verb} {order.scope}")
    return Checked(Reason.OK)


def may_give(verb: Verb, scope: str, by: str, capabilities: tuple[str, ...]) -> bool:
    """Whether an agent with these capabilities may give such an order."""
    if role_of(by) == "human":
        return True
    if verb == "resume":
        return False
    return role_of(by) in HALTERS or any(fnmatchcase(f"halt:{scope}", held) for held in capabilities)
