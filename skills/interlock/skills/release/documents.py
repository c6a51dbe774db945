"""Values as JSON, YAML and Markdown: the same value gives the same bytes, and foreign text stays inert."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from interlock.skills.repository.names import one_line

# Plain scalars that YAML 1.1 and 1.2 both read as this very text; everything else is quoted.
_PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./+-]*(?: [A-Za-z0-9_./+(][A-Za-z0-9_./+()-]*)*")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})


def json_text(value: Any) -> str:
    """Indented JSON in the order the value was built in, with a final newline."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def yaml_text(value: Any) -> str:
    """Block-style YAML that YAML 1.1 and 1.2 readers understand alike: whatever could be misread is quoted."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    Dumper.add_representer(str, _represent_text)
    text = yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=10_000, default_flow_style=False)
    return str(text)


def _represent_text(dumper: Any, text: str) -> Any:
    plain = _PLAIN.fullmatch(text) and text.lower().strip(".") not in _WORDS and len(text) < 100
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


def code(text: object) -> str:
    """A Markdown code span on one line; foreign text inside cannot end it, nor become markup."""
    line = one_line(text, 300).replace("|", "¦")
    if not line:
        return "—"
    fence = "`" * (max((len(run) for run in re.findall(r"`+", line)), default=0) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def told(text: object) -> str:
    """Foreign prose as Markdown text: characters that mean markup are escaped."""
    return re.sub(r"([\\`*_{}\[\]<>#|~!$&])", r"\\\1", one_line(text, 2000))


def grid(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A Markdown table; cells are Markdown already. Nothing at all without rows."""
    body = [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    if not body:
        return []
    return [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}", *body, ""]


def markdown(lines: Iterable[str]) -> str:
    """Lines joined, runs of empty lines made one, a final newline."""
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n") + "\n"


def size_text(count: int) -> str:
    """Bytes for people: 1536 → `1.5 KiB`. Integer arithmetic only."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            tenths = count * 10 // size
            return f"{tenths // 10}.{tenths % 10} {unit}"
    return f"{count} B"


def counted(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("y") else f"{number} {noun}s"
