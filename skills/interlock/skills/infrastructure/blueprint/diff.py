"""What differs between two blueprints, value by value, as their authors write them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from interlock.skills.infrastructure.blueprint.format import leaves
from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.blueprint.problems import printable
from interlock.skills.infrastructure.blueprint.writing import document

_KEYED = {"spec.scaling.metrics": ("type", "weight")}


class Change(Struct, frozen=True):
    """One value at one path, as a document has it. None: not there (before, or after)."""

    path: str
    old: Any
    new: Any

    def told(self) -> str:
        """One line."""
        if self.old is None or self.new is None:
            sign, value = ("+", self.new) if self.old is None else ("-", self.old)
            # An entry of a list is there or not.
            return f"{sign} {self.path}" + ("" if self.path.endswith("]") and value is True else f": {_shown(value)}")
        return f"~ {self.path}: {_shown(self.old)} → {_shown(self.new)}"


def semantic_diff(old: Blueprint, new: Blueprint) -> tuple[Change, ...]:
    """Changes in the order of the format, defaults included: a default written out is no change. Lists of names are
    sets, weighted metrics go by their type.
    """
    before, after = dict(_flat(document(old), "")), dict(_flat(document(new), ""))
    order = sorted(dict.fromkeys([*before, *after]), key=_place_in_format)
    return tuple(
        Change(path, before.get(path), after.get(path)) for path in order if before.get(path) != after.get(path)
    )


def _place_in_format(path: str) -> int:
    return next((index for index, leaf in enumerate(leaves()) if path.startswith(leaf) and _ends(path, leaf)), -1)


def _ends(path: str, leaf: str) -> bool:
    return path[len(leaf) : len(leaf) + 1] in ("", ".", "[")


def same_but_version(old: Blueprint, new: Blueprint) -> bool:
    """Whether they ask for the same."""
    return all(change.path == "metadata.version" for change in semantic_diff(old, new))


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else key)
    elif path in _KEYED:
        key, kept = _KEYED[path]
        yield from ((f"{path}[{entry[key]}]", entry[kept]) for entry in value)
    elif isinstance(value, list):
        yield from ((f"{path}[{printable(str(item))}]", True) for item in value)
    else:
        yield path, value


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(str(value))
