"""Descriptions in exported schemas: docstrings as one line, the same from every Python."""

from __future__ import annotations

from typing import Any


def in_one_line(schema: Any) -> Any:
    """The JSON Schema with every description on one line: from Python 3.13 on, docstrings come without their indentation."""
    if isinstance(schema, list):
        return [in_one_line(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: " ".join(value.split()) if key == "description" and isinstance(value, str) else in_one_line(value)
        for key, value in schema.items()
    }
