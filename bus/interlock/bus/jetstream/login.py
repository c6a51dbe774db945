"""Logging in to NATS with an NKey, and whose inbox is whose.

nats-py would need the `nkeys` package for a seed; all it does with it is to sign a nonce, which our own keys do. What
is signed there can never pass for an envelope (see interlock.envelope.signing).
"""

from __future__ import annotations

import base64
import re

from msgspec import Struct

from interlock.bus.jetstream.hop_client import HopClient
from interlock.envelope.keys import SigningKey

_FORBIDDEN = re.compile(r"permissions violation for (?:publish|subscription) (?:to|for)? ?\"([^\"]+)\"", re.IGNORECASE)


class Login(Struct, frozen=True):
    """user: the agent under whose name the key is enrolled, and whose inbox it may hear."""

    user: str
    key: SigningKey


class _NKeyClient(HopClient):
    """Presents the key it holds when it connects: after a rotation that is another one than before."""

    def __init__(self, key: SigningKey) -> None:
        super().__init__()
        self._login_key = key

    def _connect_command(self) -> bytes:
        self._public_nkey, self._signature_cb = self._login_key.key_id, self._signed
        return super()._connect_command()

    def _signed(self, nonce: str) -> bytes:
        return base64.b64encode(self._login_key.sign(nonce.encode()))


def client_for(login: Login | None) -> HopClient:
    return HopClient() if login is None else _NKeyClient(login.key)


def inbox_prefix(user: str) -> str:
    """A private inbox per user, so that permissions can keep others from reading its answers."""
    return f"_INBOX_{user.replace('.', '_')}"


def is_login_refused(error: Exception) -> bool:
    """Whether the broker does not know the key it was shown."""
    text = str(error).lower()
    return "authorization violation" in text or "authentication" in text


def forbidden_subject(error: str) -> str:
    """The subject of a permissions violation (the broker writes it in lower case), empty for any other error."""
    found = _FORBIDDEN.search(error)
    return found[1] if found else ""
