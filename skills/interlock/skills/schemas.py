"""JSON Schema (2020-12) of skill inputs and outputs: all errors with their paths; nothing is fetched from anywhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Any

import msgspec

from interlock.skills.values import find_float as find_float

MAX_PROBLEMS = 20
_REFERRING = ("$ref", "$dynamicRef", "$recursiveRef")


def check(value: Any, schema: Any) -> list[tuple[str, str]]:
    """(JSON path, message) of every violation, at most MAX_PROBLEMS; empty if value satisfies schema. Never raises."""
    if _trivial(schema):
        return [] if isinstance(value, dict) else [("$", "is not an object")]
    try:
        errors = islice(_validator(msgspec.json.encode(schema)).iter_errors(value), MAX_PROBLEMS)
        return [(error.json_path, error.message[:300]) for error in errors]
    except Exception as error:  # a dozen kinds, for a schema that is none: nothing satisfies it
        what = " ".join(str(error).split())[:200]
        return [("$", f"its schema cannot be applied: {type(error).__name__}: {what}")]


def foreign_reference(schema: Any) -> str:
    """The first reference that leads out of the document, or empty. Needs no library: every role loads every skill."""
    return next((text[:80] for text in _references(schema) if not text.startswith("#")), "")


def schema_problem(schema: Any) -> str:
    """Empty, or why this is no JSON Schema."""
    if _trivial(schema):
        return ""
    library = jsonschema_library()
    try:
        library.Draft202012Validator.check_schema(schema)
    except library.SchemaError as error:
        return f"{error.json_path}: {error.message}"[:300]
    return ""


def path_properties(schema: Any) -> list[tuple[str, str]]:
    """(property, format) of the top-level inputs that name directories of the host."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict):
        return []
    return [
        (name, entry["format"])
        for name, entry in properties.items()
        if isinstance(entry, dict) and entry.get("format") in ("directory", "writable-directory")
    ]


def _trivial(schema: Any) -> bool:
    return isinstance(schema, dict) and schema == {"type": "object"}


@lru_cache(maxsize=512)
def _validator(schema: bytes) -> Any:
    validator = jsonschema_library().Draft202012Validator
    from referencing import Registry

    # An empty registry: the library's own would fetch what it does not know.
    return validator(msgspec.json.decode(schema), registry=Registry())


def jsonschema_library() -> Any:
    """jsonschema, without the grammar of internationalised addresses that its optional format checks build at import:
    that takes most of a second, and no format check of it is used here.
    """
    if "jsonschema" not in sys.modules:
        sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # reads as: cannot be imported
    import jsonschema

    return jsonschema


def _references(schema: Any) -> Iterator[str]:
    stack = [schema]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            yield from (node[key] for key in _REFERRING if isinstance(node.get(key), str))
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)
