"""The format as data: schema.yaml, and the leaves of it by path and by field of the model."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from msgspec import Struct

from interlock.bus.yaml12 import load_yaml

SCHEMA_PATH = Path(__file__).with_name("schema.yaml")


class Leaf(Struct, frozen=True):
    """One value of the format. path: `spec.resources.cpu.request`; field: `resources.cpu.request_m`, empty if the model
    does not keep it. schema: with its `$ref` followed.
    """

    path: str
    field: str
    schema: dict[str, Any]
    required: bool

    @property
    def quantity(self) -> str:
        """The kind of quantity (quantities.py), empty if it is none."""
        return str(self.schema.get("x-quantity", ""))

    @property
    def has_default(self) -> bool:
        """Whether it is something where it is left out."""
        return "default" in self.schema


class Section(Struct, frozen=True):
    """A mapping of the format, and what is in it."""

    path: str
    schema: dict[str, Any]
    required: bool


@cache
def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a blueprint."""
    loaded = load_yaml(SCHEMA_PATH.read_bytes(), source=SCHEMA_PATH.name).value
    return dict(loaded)


@cache
def leaves() -> dict[str, Leaf]:
    """Every value by its path, in the order of the schema."""
    return {entry.path: entry for entry in entries() if isinstance(entry, Leaf)}


@cache
def leaves_by_field() -> dict[str, Leaf]:
    """Every value that the model keeps, by its field."""
    return {leaf.field: leaf for leaf in leaves().values() if leaf.field}


@cache
def entries() -> tuple[Leaf | Section, ...]:
    """Sections, each followed by what is in it."""
    return tuple(_walk(schema(), ""))


def followed(entry: dict[str, Any]) -> dict[str, Any]:
    """A schema with its `$ref` replaced by what it refers to; what stands beside it wins."""
    reference = entry.get("$ref")
    if not isinstance(reference, str):
        return entry
    meant: Any = schema()
    for part in reference.removeprefix("#/").split("/"):
        meant = meant[part]
    return {**followed(meant), **{key: value for key, value in entry.items() if key != "$ref"}}


def _walk(section: dict[str, Any], at: str) -> Iterator[Leaf | Section]:
    required = section.get("required", [])
    for key, entry in section["properties"].items():
        path = f"{at}.{key}" if at else key
        whole = followed(entry)
        if whole.get("type") == "object" and "x-field" not in whole:
            yield Section(path, whole, key in required)
            yield from _walk(whole, path)
        else:
            yield Leaf(path, str(whole.get("x-field", "")), whole, key in required)
