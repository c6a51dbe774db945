"""Quantities as blueprints write them, strictly: one spelling of each unit, no guessing. Exact arithmetic, integer results.

Sources: Kubernetes resource quantities (k8s.io/apimachinery, api/resource) for processor time and memory, without their
exponents and without a bare number of bytes; seed 001 for the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from msgspec import Struct

_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")
_LOOSE = re.compile(r"(?P<sign>\$?)\s*(?P<number>[0-9]{1,15}(?:[.,][0-9]{1,9})?)\s*(?P<unit>[^0-9.,]{0,20})")


class QuantityError(ValueError):
    """Not a quantity of this kind. instead: what was probably meant; limits: what it must keep; empty if nobody knows."""

    def __init__(self, instead: str = "", limits: str = "") -> None:
        super().__init__(instead or limits)
        self.instead = instead
        self.limits = limits


class Kind(Struct, frozen=True):
    """One kind of quantity.

    expected: what people are told. units: unit → how many of the result it is; the order is that in which a value is
    written (the first that divides it). gap: what stands between number and unit. aliases: wrong unit, lower case → the
    right ones. bare: whether a number without unit is one. least, most: bounds of the result.
    """

    expected: str
    units: Mapping[str, Decimal]
    aliases: Mapping[str, tuple[str, ...]]
    gap: str = ""
    bare: str | None = None
    least: int = 0
    most: int = 0


def _scales(**units: str | int) -> dict[str, Decimal]:
    return {name: Decimal(value) for name, value in units.items()}


_BYTES = _scales(Ti=1 << 40, Gi=1 << 30, Mi=1 << 20, Ki=1 << 10, T=10**12, G=10**9, M=10**6, k=1000)
_BYTE_ALIASES = {
    **{f"{unit}{tail}": (f"{unit.title()}i", unit.upper()) for unit in "tgm" for tail in ("", "b")},
    **{f"{unit}ib": (f"{unit.upper()}i",) for unit in "tgmk"},
    **{f"{unit}i": (f"{unit.upper()}i",) for unit in "tgmk"},
    "kb": ("Ki", "k"),
    "k": ("Ki", "k"),
    "": ("Mi",),
}
_TIME_ALIASES = {
    **dict.fromkeys(("sec", "secs", "second", "seconds"), ("s",)),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), ("m",)),
    **dict.fromkeys(("hr", "hrs", "hour", "hours"), ("h",)),
    **dict.fromkeys(("day", "days"), ("d",)),
    **dict.fromkeys(("msec", "millis", "milliseconds"), ("ms",)),
    **{unit: (unit,) for unit in ("ms", "s", "m", "h", "d")},
    "": ("s", "ms"),
}
_PERCENT = {"%": Decimal(10_000)}
_PERCENT_ALIASES = {**dict.fromkeys(("%", "percent", "pct", ""), ("%",))}

KINDS: dict[str, Kind] = {
    "cpu": Kind(
        "processor time such as `50m` or `0.5`",
        {"m": Decimal(1)},
        {**dict.fromkeys(("m", "mcpu", "millicores", "millicpu"), ("m",)), "cores": ("",), "cpu": ("",), "": ("",)},
        bare="1000",
        least=1,
        most=1_000_000,
    ),
    "memory": Kind("memory such as `128Mi` or `1Gi`", _BYTES, _BYTE_ALIASES, least=1024, most=1 << 50),
    "duration": Kind(
        "a duration such as `200ms`, `60s`, `5m`, `1h` or `90d`",
        _scales(d=86_400_000, h=3_600_000, m=60_000, s=1000, ms=1),
        _TIME_ALIASES,
        most=366 * 86_400_000,
    ),
    "latency": Kind(
        "a latency such as `200ms` or `1.5s`",
        _scales(s=1_000_000, ms=1000, us=1),
        {**_TIME_ALIASES, "us": ("us",), "µs": ("us",), "": ("ms", "s")},
        least=1,
        most=3_600_000_000,
    ),
    "seconds": Kind(
        "whole seconds such as `30s` or `5m`",
        _scales(h=3600, m=60, s=1),
        {**_TIME_ALIASES, "": ("s",)},
        most=86_400,
    ),
    "share": Kind("a share such as `99.9%`", _PERCENT, _PERCENT_ALIASES, most=1_000_000),
    "utilization": Kind("a utilisation such as `70%`", _PERCENT, _PERCENT_ALIASES, least=1, most=10_000_000),
    "throughput": Kind(
        "a throughput such as `100 req/s`",
        {"req/s": Decimal(1000)},
        dict.fromkeys(("req/s", "reqs/s", "rps", "requests/s", "req/sec", "requests/second", "r/s", ""), ("req/s",)),
        gap=" ",
        most=10**12,
    ),
    "money": Kind(
        "an amount such as `100 USD`",
        {"USD": Decimal(1_000_000)},
        dict.fromkeys(("usd", "$", "us$", "dollars", ""), ("USD",)),
        gap=" ",
        most=10**15,
    ),
    "weight": Kind("a weight above 0 and up to 1, such as `0.5`", {}, {}, bare="1000000", least=1, most=1_000_000),
}


def parse(kind_name: str, value: Any) -> int:
    """The integer a YAML scalar means. Raises QuantityError."""
    kind = KINDS[kind_name]
    text = _text(value)
    if text is None:
        raise QuantityError
    number, unit = _split(text, kind)
    if number is not None:
        scale = Decimal(kind.bare) if not unit and kind.bare is not None else kind.units.get(unit)
        if scale is not None and (not unit or not kind.gap or text == f"{number}{kind.gap}{unit}"):
            result = Fraction(number) * Fraction(scale)
            if result.denominator == 1 and kind.least <= result <= kind.most:
                return result.numerator
            raise QuantityError(limits=f"from {show(kind_name, kind.least)} to {show(kind_name, kind.most)}")
    raise QuantityError(_instead(text, kind))


def show(kind_name: str, value: int) -> str:
    """How a blueprint writes an integer of that kind: `parse(kind, show(kind, n)) == n`."""
    kind = KINDS[kind_name]
    if not kind.units:
        return _plain(Decimal(value) / Decimal(kind.bare or 1))
    for unit, scale in kind.units.items():
        if value and value % scale == 0:
            return f"{_plain(Decimal(value) / scale)}{kind.gap}{unit}"
    unit, scale = list(kind.units.items())[-1]
    return f"{_plain(Decimal(value) / scale)}{kind.gap}{unit}"


def _text(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value)
    # The shortest decimal of a float is what its author wrote, unless it is so small that it is written with an exponent.
    return format(Decimal(text), "f") if isinstance(value, float) and "e" in text else text


def _split(text: str, kind: Kind) -> tuple[str | None, str]:
    match = _NUMBER.match(text)
    if match is None:
        return None, ""
    return match[0], text[match.end() :].removeprefix(kind.gap) if kind.gap else text[match.end() :]


def _instead(text: str, kind: Kind) -> str:
    loose = _LOOSE.fullmatch(text.strip())
    if loose is None:
        return ""
    number = loose["number"].replace(",", ".")
    unit = (loose["unit"].strip() or loose["sign"]).lower()
    if kind.units is _PERCENT and not unit and Decimal(number) <= 1 and "." in number:
        number = _plain(Decimal(number) * 100)
    if kind.units is _BYTES and not unit and number.removesuffix(".0").isdigit() and Decimal(number) >= 1 << 16:
        return f"`{show('memory', int(Decimal(number)))}`"
    meant = kind.aliases.get(unit, ())
    return " or ".join(f"`{number}{kind.gap if unit else ''}{unit}`" for unit in meant)


def _plain(number: Decimal) -> str:
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
