"""Label selectors (equality and sets) and field selectors, from the query and from objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from interlock.skills.infrastructure.fake_cluster.statuses import bad_request

Match = Callable[[Mapping[str, Any]], bool]

_KEY = r"[A-Za-z0-9]([\w./-]*[A-Za-z0-9])?"
_SET = re.compile(rf"^(?P<key>{_KEY})\s+(?P<how>in|notin)\s*\((?P<values>[^()]*)\)$")
_EQUAL = re.compile(rf"^(?P<key>{_KEY})\s*(?P<how>==|=|!=)\s*(?P<value>[\w.-]*)$")
_EXISTS = re.compile(rf"^(?P<no>!?)\s*(?P<key>{_KEY})$")


def labels_match(selector: str) -> Match:
    """`a=b,c!=d,e in (f,g),h notin (i),j,!k` → a test on an object. Raises ApiError 400."""
    tests = [_requirement(part.strip()) for part in _split(selector)]
    return lambda item: all(test(item.get("metadata", {}).get("labels") or {}) for test in tests)


def fields_match(selector: str) -> Match:
    """`metadata.name=x,status.phase!=Running` → a test on an object. Raises ApiError 400."""
    tests = []
    for part in selector.split(",") if selector else []:
        path, how, value = part.partition("!=") if "!=" in part else part.replace("==", "=").partition("=")
        if not how or not path:
            raise bad_request(f"Unable to parse field selector {selector!r}")
        tests.append((path.strip().split("."), how != "!=", value.strip()))
    return lambda item: all((str(_at(item, path) or "") == value) is wanted for path, wanted, value in tests)


def object_selector(selector: Mapping[str, Any]) -> str:
    """A LabelSelector object in its query form."""
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for term in selector.get("matchExpressions") or []:
        values = ",".join(term.get("values") or [])
        forms = {
            "In": f"{term['key']} in ({values})",
            "NotIn": f"{term['key']} notin ({values})",
            "Exists": term["key"],
            "DoesNotExist": f"!{term['key']}",
        }
        parts.append(forms[term["operator"]])
    return ",".join(parts)


def _split(selector: str) -> list[str]:
    return [part for part in re.split(r",(?![^()]*\))", selector) if part.strip()]


def _requirement(part: str) -> Callable[[Mapping[str, str]], bool]:
    if match := _SET.match(part):
        key, values = match["key"], {value.strip() for value in match["values"].split(",")}
        wanted = match["how"] == "in"
        return lambda labels: (labels.get(key) in values) if wanted else (labels.get(key) not in values)
    if match := _EQUAL.match(part):
        key, value, wanted = match["key"], match["value"], match["how"] != "!="
        return lambda labels: (labels.get(key) == value) is wanted
    if match := _EXISTS.match(part):
        key, wanted = match["key"], not match["no"]
        return lambda labels: (key in labels) is wanted
    raise bad_request(f"unable to parse requirement: {part!r}")


def _at(item: Mapping[str, Any], path: list[str]) -> Any:
    value: Any = item
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value
