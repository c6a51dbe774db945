"""Verification as whoever is sent a sample does it, ten milliseconds after it was sealed."""

from __future__ import annotations

from typing import Any

from interlock.envelope.verification import Checked, verify
from tests.envelope.samples import ENVELOPES, NOW, TRUST

BASE = ENVELOPES["intake"]
SUBJECT = BASE.envelope.subject


def check(wire: bytes, subject: str, **more: Any) -> Checked:
    usual: dict[str, Any] = {"recipient": "", "trust": TRUST, "now_ms": NOW + 10}
    return verify(wire, subject=subject, **usual | more)
