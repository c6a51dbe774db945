"""Which model may draft plans. Apart from its client, so that settings cost no imports."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class ModelPlanner(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """url: the server's `…/chat/completions`. hosting: where it runs, for policies on what may be sent to it; empty: local
    on this machine, else remote. key_file: a file with the key, if the server wants one. confidence: what
    a drafted plan is given, in parts per thousand; below 850 a human must approve it.
    """

    url: str
    model: str
    key_file: str = ""
    timeout_ms: int = 30_000
    max_tokens: int = 2_000
    confidence: int = 800
    hosting: Literal["", "local", "remote"] = ""
