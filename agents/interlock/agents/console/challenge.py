"""Logging in by a human's key: the console asks with a challenge, the key's holder signs it for this console's origin.

Challenges carry their own proof that they are ours and how long they are good, so that asking for many costs nothing;
only those that were answered well are remembered, since each is good once. No seed is ever shown to the console.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from interlock.agents.errors import UserError
from interlock.envelope.canonical import canonical
from interlock.envelope.ids import AgentId, Token, role_of
from interlock.envelope.keys import SigningKey, base64url, from_base64url
from interlock.envelope.model import KeyId, Signature
from interlock.envelope.signed_document import is_signed_document, sign_document
from interlock.envelope.signing import LOGIN_DOMAIN
from interlock.envelope.trust import Trust
from interlock.envelope.verdict import Reason

GOOD_MS = 120_000
MAX_TEXT = 2_048
AGAIN = "Run `interlock console login` again"
_NONCE, _TIME = 16, 8


class LoginAnswer(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """What the holder of a key says to a console. origin: the console that was meant, so that no other can pass it on."""

    workspace: Token
    origin: Annotated[str, Meta(max_length=300)]
    challenge: Annotated[str, Meta(max_length=100)]
    agent: AgentId
    key_id: KeyId
    signature: Signature | None = None


class Challenges:
    """Of one console; another does not know its secret."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._used: dict[str, int] = {}

    def new(self, now_ms: int) -> str:
        body = secrets.token_bytes(_NONCE) + (now_ms + GOOD_MS).to_bytes(_TIME, "big")
        return base64url(body + self._mark(body))

    def is_good(self, text: str, now_ms: int) -> bool:
        """Ours, in time, and not used yet."""
        try:
            raw = from_base64url(text)
        except ValueError:
            return False
        body, mark = raw[: _NONCE + _TIME], raw[_NONCE + _TIME :]
        if not hmac.compare_digest(mark, self._mark(body)):
            return False
        return now_ms < int.from_bytes(body[_NONCE:], "big") and text not in self._used

    def use(self, text: str, now_ms: int) -> None:
        self._used = {used: until_ms for used, until_ms in self._used.items() if until_ms > now_ms}
        self._used[text] = now_ms + GOOD_MS

    def form_token(self, before: str) -> str:
        """What a login form carries for a browser that has this cookie."""
        return base64url(hmac.digest(self._secret, b"form " + before.encode("utf-8", "replace"), hashlib.sha256))

    def _mark(self, body: bytes) -> bytes:
        return hmac.digest(self._secret, body, hashlib.sha256)[:16]


def sign_answer(key: SigningKey, *, workspace: str, origin: str, challenge: str, agent: str) -> str:
    """The answer as it is pasted or linked: base64url of its RFC 8785 form."""
    answer = LoginAnswer(workspace=workspace, origin=origin, challenge=challenge, agent=agent, key_id=key.key_id)
    return base64url(canonical(sign_document(answer, LOGIN_DOMAIN, key)))


def read_answer(text: str) -> LoginAnswer:
    """Nothing is said of its signature. Raises UserError."""
    try:
        if len(text) > MAX_TEXT:
            raise ValueError("too long")
        return msgspec.json.decode(from_base64url(text.strip()), type=LoginAnswer)
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise UserError("login_refused", "this is no answer to a challenge", AGAIN, 2) from error


def check_answer(
    text: str, *, challenges: Challenges, origins: Collection[str], workspace: str, trust: Trust, now_ms: int
) -> LoginAnswer:
    """The answer of a human whose key is good now; its challenge is used up. Raises UserError, whatever the text."""
    answer = read_answer(text)
    if answer.workspace != workspace or answer.origin not in origins:
        told = f"the answer is for {answer.origin[:100]}, workspace {answer.workspace}"
        raise UserError("login_refused", told, f"{AGAIN}, with --url of this console", 2)
    if not challenges.is_good(answer.challenge, now_ms):
        raise UserError("login_expired", "its challenge is used, too old, or another console's", AGAIN, 2)
    if not is_signed_document(answer, LOGIN_DOMAIN):
        raise UserError("login_refused", "its signature does not hold", AGAIN, 2)
    check_human(answer.agent, answer.key_id, trust, now_ms)
    challenges.use(answer.challenge, now_ms)
    return answer


def check_human(agent: str, key_id: str, trust: Trust, now_ms: int) -> None:
    """Raises UserError unless it is a human's key, enrolled for this agent and good now."""
    key = trust.find(key_id)
    if key is None or key.agent != agent or role_of(agent) != "human":
        raise UserError("login_refused", f"{key_id} is no key of {agent}, a human", "`interlock keys list`", 2)
    reason = trust.judge_key(key_id, agent, now_ms, now_ms)
    if reason is not Reason.OK:
        raise UserError(str(reason), f"the key of {agent} is not good now", "`interlock keys list`", 2)
