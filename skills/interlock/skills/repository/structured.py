"""JSON, TOML and YAML of unknown origin as plain values; what is wrong comes back as one line, never as a crash."""

from __future__ import annotations

import json
import tomllib
from typing import Any

MAX_YAML_DEPTH = 40
MAX_YAML_NODES = 400_000


class Unreadable(ValueError):
    """`str(error)` is one line: what is wrong and where."""


def parse_json(text: str) -> Any:
    """Raises Unreadable."""
    try:
        return json.loads(text)
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    except ValueError as error:
        raise Unreadable(f"not JSON: {error}"[:200]) from None


def parse_toml(text: str) -> dict[str, Any]:
    """Raises Unreadable."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    except ValueError as error:
        raise Unreadable(f"not TOML: {error}"[:200]) from None


def parse_yaml(text: str) -> Any:
    """One document with every scalar as text, built from the flat stream of events so that nothing recurses.

    Aliases are refused (no lock file needs them); depth and number of nodes are bounded. Raises Unreadable.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=loader):
            if isinstance(event, yaml.ScalarEvent):
                builder.add(event.value)
            elif isinstance(event, yaml.MappingStartEvent):
                builder.open({})
            elif isinstance(event, yaml.SequenceStartEvent):
                builder.open([])
            elif isinstance(event, yaml.CollectionEndEvent):
                builder.close()
            elif isinstance(event, yaml.AliasEvent):
                raise Unreadable("YAML aliases are not read")
            elif isinstance(event, yaml.DocumentEndEvent):
                break
    except yaml.YAMLError as error:
        raise Unreadable(f"not YAML: {' '.join(str(error).split())}"[:200]) from None
    except ValueError as error:
        raise Unreadable(f"not YAML: {error}"[:200]) from None
    return builder.root


class _Builder:
    """Collections under construction; a mapping waits for a key, then for its value."""

    def __init__(self) -> None:
        self.root: Any = None
        self._stack: list[tuple[Any, list[str]]] = []
        self._count = 0

    def add(self, value: Any) -> None:
        self._count += 1
        if self._count > MAX_YAML_NODES:
            raise Unreadable(f"more than {MAX_YAML_NODES} values")
        if not self._stack:
            self.root = value
            return
        parent, keys = self._stack[-1]
        if isinstance(parent, list):
            parent.append(value)
        elif keys:
            parent[keys.pop()] = value
        elif isinstance(value, str):
            keys.append(value)
        else:
            raise Unreadable("a key that is not text")

    def open(self, collection: Any) -> None:
        if len(self._stack) >= MAX_YAML_DEPTH:
            raise Unreadable(f"nested deeper than {MAX_YAML_DEPTH}")
        self.add(collection)
        self._stack.append((collection, []))

    def close(self) -> None:
        self._stack.pop()


def table(value: Any) -> dict[str, Any]:
    """The value if it is an object, else an empty one: manifests often hold something else than they should."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def words(value: Any) -> str:
    """The value if it is text, else empty."""
    return value if isinstance(value, str) else ""
