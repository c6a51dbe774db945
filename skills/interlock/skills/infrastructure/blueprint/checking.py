"""A document against schema.yaml: every violation as a problem, with what was expected. Quantities are read strictly."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from interlock.bus.yaml12 import Loaded
from interlock.skills.infrastructure.blueprint import quantities
from interlock.skills.infrastructure.blueprint.format import followed, schema
from interlock.skills.infrastructure.blueprint.problems import Problem, printable, shown
from interlock.skills.schemas import jsonschema_library

_TYPES = {"object": "a mapping", "array": "a list", "string": "text", "boolean": "`true` or `false`"}
_YAML_1_1 = {"yes": "`true`", "on": "`true`", "y": "`true`", "no": "`false`", "off": "`false`", "n": "`false`"}
# Keywords that say the same of one value as its quantity does, and less well.
_ABOUT_A_LEAF = ("type", "pattern", "minimum", "maximum", "minLength", "maxLength", "enum", "const")


def violations(loaded: Loaded, definition: str = "") -> Iterator[Problem]:
    """Every violation of the schema, or of one of its definitions, in no order."""
    for error in _validator(definition).iter_errors(loaded.value):
        yield from _problems(error, loaded)


def _problems(error: Any, loaded: Loaded) -> Iterator[Problem]:
    parts = list(error.absolute_path)
    keyword, about = error.validator, error.schema
    if keyword == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        for key in missing:
            yield problem(loaded, [*parts, key], f"{described(about['properties'][key])}", "nothing")
    elif keyword == "additionalProperties":
        known = list(about.get("properties", {}))
        for key in error.instance:
            if key not in known:
                yield _unknown_key(loaded, [*parts, key], known)
    elif "propertyNames" in error.absolute_schema_path:
        yield _unknown_key(loaded, [*parts, error.instance], error.validator_value)
    elif keyword == "uniqueItems":
        yield from _repeated(loaded, parts, error.instance)
    elif keyword == "x-quantity":
        limits = f", {error.cause.limits}" if error.cause.limits else ""
        yield problem(loaded, parts, described(about) + limits, shown(error.instance), error.cause.instead)
    elif keyword in ("minItems", "maxItems", "maxProperties") or keyword in _ABOUT_A_LEAF:
        if "x-quantity" not in about:
            yield problem(loaded, parts, described(about), shown(error.instance), _instead(about, error.instance))
    else:
        yield problem(loaded, parts, f"what `{keyword}` of the format asks for", shown(error.instance))


def problem(
    loaded: Loaded, parts: Iterable[str | int], expected: str, found: str, instead: str = "", *, at_key: bool = False
) -> Problem:
    """A problem at a path of the document, or at the nearest thing around it."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    places = loaded.keys if at_key else loaded.positions
    line, column = places.get(f"${path}") or loaded.position(f"${path}")
    return Problem(line, column, printable(path.removeprefix(".")), expected, found, instead)


def described(entry: dict[str, Any]) -> str:
    """What a schema expects, in words."""
    whole = followed(entry)
    if "x-quantity" in whole:
        return quantities.KINDS[whole["x-quantity"]].expected
    if "x-rule" in whole:
        return str(whole["x-rule"])
    if "const" in whole:
        return f"`{_scalar(whole['const'])}`"
    if "enum" in whole:
        return "one of " + ", ".join(f"`{_scalar(item)}`" for item in whole["enum"])
    kind = whole.get("type", "object")
    if kind == "integer":
        return f"a whole number from {whole['minimum']} to {whole['maximum']}"
    if kind == "array":
        most, least = whole.get("maxItems"), whole.get("minItems", 0)
        return f"a list of {least} to {most}" + (", each once" if whole.get("uniqueItems") else "")
    if kind == "object":
        keys = ", ".join(f"`{key}`" for key in whole.get("required", whole.get("properties", {})))
        return f"a mapping with {keys}" if keys else f"a mapping of at most {whole.get('maxProperties', 0)}"
    return _TYPES[str(kind)]


def close_to(word: str, known: Iterable[str]) -> str:
    """The one of the known words that was probably meant, quoted, or empty."""
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word[:100]).lower().replace("-", "_").replace(" ", "_")
    by_plain = {re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", item).lower().replace("-", "_"): item for item in known}
    match = difflib.get_close_matches(plain, by_plain, n=1, cutoff=0.75)
    return f"`{by_plain[match[0]]}`" if match else ""


def _instead(about: dict[str, Any], value: Any) -> str:
    if isinstance(value, str):
        if about.get("type") == "boolean" or isinstance(about.get("const"), bool):
            return f"`{value}` without quotes" if value in ("true", "false") else _YAML_1_1.get(value.lower(), "")
        if about is _version():
            return f"`{value[1:]}`" if re.fullmatch(r"v[0-9]+\.[0-9]+\.[0-9]+", value) else ""
        if "enum" in about:
            return close_to(value, about["enum"])
        if about.get("type") == "integer" and re.fullmatch(r"[0-9]{1,9}", value):
            return f"`{int(value)}` without quotes"
    if isinstance(value, float) and about.get("type") in ("integer", ["integer", "string"]) and value == int(value):
        return f"`{int(value)}`"
    if isinstance(value, int | float) and not isinstance(value, bool) and about.get("type") == "string":
        if about is _version():
            return f"`{value}.0`" if isinstance(value, float) else f"`{value}.0.0`"
        if "enum" not in about and "const" not in about:
            return f'`"{value}"`'
    return ""


def _version() -> Any:
    return schema()["$defs"]["version"]


def _unknown_key(loaded: Loaded, parts: list[str | int], known: Iterable[str]) -> Problem:
    names = list(known)
    key = printable(str(parts[-1]))
    expected = "one of the keys " + ", ".join(f"`{name}`" for name in names)
    return problem(loaded, parts, expected, f"the key `{key}`", close_to(str(parts[-1]), names), at_key=True)


def _repeated(loaded: Loaded, parts: list[str | int], items: list[Any]) -> Iterator[Problem]:
    for index, item in enumerate(items):
        if item in items[:index]:
            yield problem(loaded, [*parts, index], "each entry once", f"{shown(item)} again")


def _scalar(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@cache
def _validator(definition: str) -> Any:
    """jsonschema's, but: quantities, integers that are written as such, patterns that end where the text ends."""
    library = jsonschema_library()
    from referencing import Registry

    def quantity(_: Any, kind: str, value: Any, __: Any) -> Iterator[Any]:
        try:
            quantities.parse(kind, value)
        except quantities.QuantityError as error:
            yield library.ValidationError("not a quantity", cause=error)

    def pattern(_: Any, expression: str, value: Any, __: Any) -> Iterator[Any]:
        if isinstance(value, str) and not re.search(expression.removesuffix("$") + r"\Z", value):
            yield library.ValidationError("does not match")

    base = library.Draft202012Validator
    types = base.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    extended = library.validators.extend(base, {"x-quantity": quantity, "pattern": pattern}, type_checker=types)
    root = {"$ref": f"#/$defs/{definition}", "$defs": schema()["$defs"]} if definition else schema()
    return extended(root, registry=Registry())
