"""Injection and jailbreak checks of text that came from outside (ROL-03). Heuristics: they find what is crude, and what
they miss must still meet capabilities, budgets and isolation. Patterns are data in config/injection.yaml.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from interlock.envelope.payloads import Finding

MAX_TEXT = 20_000
MAX_NODES = 5_000
# Characters that hide text from people but not from models: zero width, bidirectional controls, tags.
_HIDDEN = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\U000e0000-\U000e007f]")


class Pattern(Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    severity: Literal["low", "medium", "high", "critical"]
    message: str
    pattern: str


class Patterns(Struct, frozen=True, forbid_unknown_fields=True):
    patterns: list[Pattern]


class Checker:
    """Compiled patterns. `check` looks at every string inside a JSON value."""

    def __init__(self, patterns: Patterns) -> None:
        self._patterns = [(entry, re.compile(entry.pattern, re.IGNORECASE)) for entry in patterns.patterns]

    def check(self, value: Any, path: str = "$") -> list[Finding]:
        """Findings, at most one per pattern and string, at most 50 in all."""
        findings: list[Finding] = []
        for where, text in _texts(value, path):
            findings += self._check_text(where, text)
            if len(findings) >= 50:
                break
        return findings[:50]

    def _check_text(self, where: str, text: str) -> Iterator[Finding]:
        if not text.isascii() and _HIDDEN.search(text):
            yield Finding(id="hidden-text", severity="high", message=f"{where}: invisible characters in the text")
            text = _HIDDEN.sub("", text)
        # Compatibility forms: full-width and mathematical letters read like plain ones to a model.
        plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
        for entry, expression in self._patterns:
            if expression.search(plain):
                yield Finding(id=entry.id, severity=entry.severity, message=f"{where}: {entry.message}")


def load_checker(path: Path) -> Checker:
    """From config/injection.yaml. Raises ValueError for a bad file."""
    from interlock.bus.yaml12 import load_yaml

    patterns = msgspec.convert(load_yaml(path.read_bytes(), source=str(path)).value, Patterns)
    return Checker(patterns)


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    stack = [(path, value)]
    seen = 0
    while stack and seen < MAX_NODES:
        where, node = stack.pop()
        seen += 1
        if isinstance(node, str):
            yield where, node[:MAX_TEXT]
        elif isinstance(node, dict):
            stack.extend((f"{where}.{key}", item) for key, item in node.items())
            stack.extend((f"{where}.{key} (key)", key) for key in node)
        elif isinstance(node, list):
            stack.extend((f"{where}[{index}]", item) for index, item in enumerate(node))
