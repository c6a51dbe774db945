"""Figures of decision records as people read them: `cpu_utilization_ppm` 850000 is CPU utilization 85 %. Pure.

Records hold integers with the unit at the end of the name. Shown are three digits, more where a share is near nothing or near all
of it; the record's own name and number stand beside it, in the title.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal

from msgspec import Struct

_WORDS = {"cpu": "CPU"}
_DIGITS = 3


class Figure(Struct, frozen=True):
    """name: without its unit; text: the value with it; raw: as the record has both."""

    name: str
    text: str
    raw: str


def figure(name: str, value: int | None) -> Figure:
    """value None: it is missing."""
    stem, text = name, str(value)
    for ending, (shown, scale) in _UNITS.items():
        if name.endswith(ending) and len(name) > len(ending):
            stem = name.removesuffix(ending)
            text = text if value is None else shown(Decimal(value) / scale)
            break
    words = (_WORDS.get(word, word) for word in stem.split("_"))
    raw = f"{name} missing" if value is None else f"{name} {value}"
    return Figure(" ".join(words), "missing" if value is None else text, raw)


def share(value: Decimal) -> str:
    """1: all of it, `100 %`. Exact to the millionth below one percent and between 99 and 100, where digits count."""
    percent = value * 100
    if abs(percent) < 1 or 99 < percent < 100:
        return f"{_plain(percent)} %"
    return f"{_short(percent)} %"


def _duration(seconds: Decimal) -> str:
    if seconds and abs(seconds) < Decimal("0.001"):
        return f"{_plain(seconds * 1_000_000)} µs"
    if abs(seconds) < 1:
        return f"{_short(seconds * 1_000)} ms"
    return f"{_short(seconds)} s"


def _memory(size: Decimal) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{_short(size)} {unit}"
        size /= 1024
    return f"{_short(size)} TiB"


def _cores(count: Decimal) -> str:
    return f"{_short(count)} {'core' if count == 1 else 'cores'}"


def _rate(a_second: Decimal) -> str:
    return f"{_short(a_second)} req/s"


# By what a name ends with: how it is shown, and how many of its unit make one of what is shown.
_UNITS: dict[str, tuple[Callable[[Decimal], str], int]] = {
    "_ppm": (share, 1_000_000),
    "_us": (_duration, 1_000_000),
    "_ms": (_duration, 1_000),
    "_bytes": (_memory, 1),
    "_mrps": (_rate, 1_000),
    "_m": (_cores, 1_000),
}


def _short(value: Decimal) -> str:
    """Three digits, and all before the point."""
    places = max(0, _DIGITS - 1 - value.adjusted()) if value else 0
    return _plain(value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP))


def _plain(value: Decimal) -> str:
    """Without an exponent and without zeros that say nothing."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
