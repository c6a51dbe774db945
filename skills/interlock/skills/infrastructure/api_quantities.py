"""Quantities as the Kubernetes API writes them: `1500m`, `1Gi`, `100M`, `1e3` (apimachinery, resource.Quantity).

Wider than what a blueprint may say: this is what real objects hold.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

_GRAMMAR = re.compile(
    r"^(?P<sign>[+-]?)(?P<number>[0-9]+\.?[0-9]*|\.[0-9]+)(?P<suffix>[KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,3}|)$"
)
_BINARY = {f"{letter}i": 1024 ** (at + 1) for at, letter in enumerate("KMGTPE")}
_DECIMAL = {
    suffix: Fraction(10) ** power
    for suffix, power in zip(("n", "u", "m", "", "k", "M", "G", "T", "P", "E"), range(-9, 19, 3), strict=True)
}
_LARGEST = 2**63 - 1
_LONGEST = 64


class BadQuantity(ValueError):
    """Not a quantity."""


def parse(text: str | int | float) -> Fraction:
    """The exact number. JSON numbers are taken as their decimal spelling, as the API server does. Raises BadQuantity."""
    spelled = str(text)
    match = None if isinstance(text, bool) or len(spelled) > _LONGEST else _GRAMMAR.match(spelled)
    if match is None:
        raise BadQuantity(f"{spelled[:_LONGEST]!r} is not a quantity such as 1500m, 1Gi or 100M")
    suffix = match["suffix"]
    if suffix in _BINARY:
        factor = Fraction(_BINARY[suffix])
    elif suffix in _DECIMAL:
        factor = _DECIMAL[suffix]
    else:
        factor = Fraction(10) ** int(suffix[1:])
    value = Fraction(match["number"]) * factor * (-1 if match["sign"] == "-" else 1)
    if abs(value) > _LARGEST:
        raise BadQuantity(f"{spelled[:_LONGEST]!r} is larger than the API can hold")
    return value


def milli(text: str | int | float) -> int:
    """In thousandths, rounded up: CPU as millicores."""
    return math.ceil(parse(text) * 1000)


def whole(text: str | int | float) -> int:
    """In units, rounded up: memory as bytes."""
    return math.ceil(parse(text))


def cpu(millicores: int) -> str:
    """`1500m`, `2`: the canonical spelling."""
    return f"{millicores}m" if millicores % 1000 else str(millicores // 1000)


def memory(count_bytes: int) -> str:
    """`128Mi`, `1Gi`, `1000`: the largest binary suffix that keeps it whole."""
    spelled = str(count_bytes)
    for suffix, factor in _BINARY.items():
        if count_bytes and count_bytes % factor == 0:
            spelled = f"{count_bytes // factor}{suffix}"
    return spelled
