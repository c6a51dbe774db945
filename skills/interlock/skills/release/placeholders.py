"""Text that somebody was to fill in: a deliverable has none (seed 000, "Quality Standards")."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from interlock.skills.repository.findings import Finding

_IN_PROSE = re.compile(
    r"(?<![\w/.`-])(?:TODO|TBD|FIXME|PLACEHOLDER)(?![\w/.`-])|lorem ipsum|\$\{[^}\n]{0,80}\}|\{\{[^}\n]{0,80}\}\}"
    r"|<(?:your|insert|replace)[ _-][^>\n]{0,60}>"
)
_WHOLE_VALUE = re.compile(
    r"(?:TODO|TBD|FIXME|PLACEHOLDER|CHANGEME|XXX|N/A)[:.!]?|lorem ipsum.*|\$\{.*\}|\{\{.*\}\}|<(?:your|insert|replace)\b.*>",
    re.IGNORECASE | re.DOTALL,
)
MAX_TOLD = 20


def left_to_fill_in(files: Mapping[str, Path], prose: Any, names: Any) -> list[Finding]:
    """Findings that block. What others wrote is theirs: a goal may well be to mend every TODO, and a package may be
    called that. prose: a value whose strings (the intake, descriptions, quotations) may stand anywhere; names: one
    whose strings may be whole values of a document. Code spans are names always.
    """
    own = sorted({text for text in _texts(prose) if len(text) > 3}, key=len, reverse=True)
    known = {text.casefold() for text in (*_texts(prose), *_texts(names))}
    found: list[Finding] = []
    for name, path in files.items():
        text = path.read_text(encoding="utf-8")
        places = _in_markdown(text, own) if name.endswith(".md") else _in_values(name, text, known)
        found += [
            Finding("placeholder", "high", f"text left to be filled in: {what}", name, line, True)
            for line, what in places
        ]
    return found[:MAX_TOLD]


def _in_markdown(text: str, own: list[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        plain = re.sub(r"(?<![\\`])(`+)(?!`).*?(?<!`)\1(?!`)", "", line)
        plain = plain.replace("\\", "")  # escapes are how foreign text is written
        for words in own:
            plain = plain.replace(words.replace("\\", ""), "")
        match = _IN_PROSE.search(plain)
        if match:
            yield number, match[0]


def _in_values(name: str, text: str, known: set[str]) -> Iterator[tuple[int, str]]:
    if name.endswith((".yaml", ".yml")):
        from interlock.bus.yaml12 import load_yaml

        values = [load_yaml(text, source=name).value]
    else:
        values = [json.loads(line) for line in (text.splitlines() if name.endswith(".jsonl") else [text])]
    for value in values:
        for entry in _texts(value):
            if _WHOLE_VALUE.fullmatch(entry.strip()) and entry.casefold() not in known:
                yield 0, entry[:80]


def _texts(value: Any) -> Iterator[str]:
    """Every string inside a value, keys left out."""
    stack = [value]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            yield node
        elif isinstance(node, dict):
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)
