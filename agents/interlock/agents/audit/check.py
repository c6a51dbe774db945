"""The word of a verifier."""

from __future__ import annotations

from msgspec import Struct


class Check(Struct, frozen=True):
    """One thing that was checked. reason: a code, for refusals that have one."""

    name: str
    ok: bool
    detail: str
    reason: str = ""
