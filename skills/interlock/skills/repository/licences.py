"""Licences: free text to SPDX expressions, texts to SPDX ids, a policy over both. Data: config/licences.yaml."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from interlock.skills.repository.names import one_line

Ruling = Literal["allowed", "review", "forbidden", "unknown"]
LICENCE_FILE = re.compile(
    r"(licen[cs]e|copying|unlicense)([-_.][\w.-]{0,40})?$|.{0,40}[-_.]licen[cs]e(\.(txt|md|rst))?$",
    re.IGNORECASE,
)


class TextMark(Struct, frozen=True, forbid_unknown_fields=True):
    """A licence text is `spdx` if it holds all of these phrases (lower case, single spaces) and none of `without`."""

    spdx: str
    phrases: list[str]
    without: list[str] = msgspec.field(default_factory=list)


class LicenceRules(Struct, frozen=True, forbid_unknown_fields=True):
    """aliases: free text in lower case → SPDX expression. Patterns end in `*` or are exact SPDX ids."""

    aliases: dict[str, str]
    allowed: list[str]
    review: list[str]
    forbidden: list[str]
    copyleft: list[str]
    forbidden_reason: str
    texts: list[TextMark]


def load_licence_rules(config: Path) -> LicenceRules:
    """Reads licences.yaml of a configuration directory. Raises ValueError."""
    from interlock.bus.yaml12 import load_yaml

    path = config / "licences.yaml"
    return msgspec.convert(load_yaml(path.read_bytes(), source=path.name).value, LicenceRules)


@functools.cache
def _licensing() -> Any:
    from license_expression import get_spdx_licensing

    return get_spdx_licensing()  # type: ignore[no-untyped-call]


def expression_of(text: str, rules: LicenceRules) -> str:
    """The SPDX expression that free text means; empty if it means none.

    license-expression raises all kinds of errors on what people write (`MIT/Apache` makes validate() crash), hence the
    table first, and every error of the parser means "not understood".
    """
    plain = one_line(text, 200).strip()
    if not plain:
        return ""
    alias = rules.aliases.get(plain.lower().rstrip("."))
    if alias is not None:
        return alias
    return _parsed(plain) or _from_aliases(plain, rules)


@functools.lru_cache(maxsize=4096)
def _parsed(text: str) -> str:
    if len(text) > 200 or text.count("(") > 10:
        return ""
    licensing = _licensing()
    try:
        parsed = licensing.parse(text, validate=True, strict=True)
    except Exception:  # the library raises what its parser stumbles over, AttributeError and TypeError included
        return ""
    return "" if parsed is None else str(parsed.render("{symbol.key}"))


def _from_aliases(text: str, rules: LicenceRules) -> str:
    """`Apache 2.0 or MIT License`: the parts through the alias table, then the whole again."""
    parts = re.split(r"\s+(and|or)\s+|\s*([/,;|&])\s*", text, flags=re.IGNORECASE)
    words = [part for part in parts if part]
    if len(words) < 3 or len(words) > 15:
        return ""
    told = []
    for word in words:
        joint = {"and": "AND", "&": "AND", "or": "OR", "/": "OR", "|": "OR", ",": "AND", ";": "AND"}.get(word.lower())
        single = joint or rules.aliases.get(word.lower().strip("() ")) or _parsed(word.strip("() "))
        if not single:
            return ""
        told.append(single if joint or " " not in single else f"({single})")
    return _parsed(" ".join(told))


@functools.lru_cache(maxsize=4096)
def parsed_expression(expression: str) -> Any:
    """The expression as license-expression's tree. Raises its ExpressionError for what is none."""
    return _licensing().parse(expression)


def ids_of(expression: str) -> list[str]:
    """The licence ids of an expression, sorted."""
    parsed = _licensing().parse(expression) if expression else None
    return sorted({str(key) for key in _licensing().license_keys(parsed)}) if parsed is not None else []


def rule_on(expression: str, rules: LicenceRules) -> Ruling:
    """What the policy says: the best branch of an OR, the worst part of an AND; unknown without an expression."""
    if not expression:
        return "unknown"
    try:
        parsed = _licensing().parse(expression)
    except Exception:  # as above
        return "unknown"
    return _rule(parsed, rules)


def rules_for(own: list[str], rules: LicenceRules) -> LicenceRules:
    """The rules for what a tree under the expressions `own` ships: copyleft is forbidden, unless it is its own."""
    if any(_matches(key, rules.copyleft) for expression in own for key in ids_of(expression)):
        return rules
    return msgspec.structs.replace(rules, forbidden=[*rules.forbidden, *rules.copyleft])


_BEST: tuple[Ruling, ...] = ("allowed", "review", "unknown", "forbidden")


def _rule(node: Any, rules: LicenceRules) -> Ruling:
    licensing = _licensing()
    if isinstance(node, licensing.OR):
        return min((_rule(part, rules) for part in node.args), key=_BEST.index)
    if isinstance(node, licensing.AND):
        return max((_rule(part, rules) for part in node.args), key=_BEST.index)
    key = getattr(node, "license_symbol", node).key  # `GPL-2.0 WITH Classpath-exception-2.0` counts as its licence
    if getattr(node, "exception_symbol", None) is not None and _matches(
        f"{key} WITH {node.exception_symbol.key}", rules.allowed
    ):
        return "allowed"
    for ruling, patterns in (("forbidden", rules.forbidden), ("allowed", rules.allowed), ("review", rules.review)):
        if _matches(key, patterns):
            return ruling  # type: ignore[return-value]
    return "review"


def _matches(key: str, patterns: list[str]) -> bool:
    return any(key.startswith(pattern[:-1]) if pattern.endswith("*") else key == pattern for pattern in patterns)


def recognised(text: str, rules: LicenceRules) -> str:
    """The SPDX id of a licence text, or empty."""
    tagged = re.search(r"SPDX-License-Identifier:\s*([^\n]{1,120})", text[:20_000])
    if tagged:
        return expression_of(tagged[1].strip(" */#-"), rules)
    plain = re.sub(r"[\s*#>|_\"'“”‘’]+", " ", text[:60_000]).lower()
    for mark in rules.texts:
        if all(phrase in plain for phrase in mark.phrases) and not any(phrase in plain for phrase in mark.without):
            return mark.spdx
    return ""
