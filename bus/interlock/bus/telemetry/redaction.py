"""Secrets and personal data out of free text (OPS-03)."""

from __future__ import annotations


def redact(text: str) -> str:
    return text
