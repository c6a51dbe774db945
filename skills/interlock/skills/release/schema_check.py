"""JSON Schema checks with every error, and validators that start fast."""

from __future__ import annotations

import sys
from typing import Any

MAX_PROBLEMS = 20


def jsonschema() -> Any:
    """The jsonschema module. Its checker of IRIs parses a grammar of all of RFC 3987 on import, a second of CPU for a
    format that only asks for a string with few limits; without that grammar jsonschema leaves the one format out.
    """
    if "jsonschema" not in sys.modules and "rfc3987_syntax" not in sys.modules:
        sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
        try:
            import jsonschema as module
        finally:
            del sys.modules["rfc3987_syntax"]
        return module
    import jsonschema as module

    return module


def problems(value: Any, schema: Any) -> list[str]:
    """`path: message` of at most MAX_PROBLEMS violations; empty if value satisfies schema."""
    module = jsonschema()
    validator = module.Draft202012Validator(schema, format_checker=module.Draft202012Validator.FORMAT_CHECKER)
    found = []
    for error in validator.iter_errors(value):
        found.append(f"{error.json_path}: {error.message}"[:300])
        if len(found) >= MAX_PROBLEMS:
            break
    return found
