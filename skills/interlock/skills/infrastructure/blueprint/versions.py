"""Versions by semver.org 2.0.0, section 11, and the history of one blueprint. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

from interlock.skills.infrastructure.blueprint.diff import Change, same_but_version, semantic_diff
from interlock.skills.infrastructure.blueprint.model import Blueprint


class Version(Struct, frozen=True):
    """One version of a blueprint, and what it changed against the one before."""

    source: str
    blueprint: Blueprint
    changes: tuple[Change, ...]


class History(Struct, frozen=True):
    """versions: oldest first, the current one last. problems: why this is no history, a line each."""

    versions: tuple[Version, ...]
    problems: tuple[str, ...]


def precedence(version: str) -> tuple[tuple[int, ...], bool, tuple[tuple[bool, int, str], ...]]:
    """A key that sorts versions as semver.org does: a pre-release before its release, numbers before words."""
    numbers, _, release = version.partition("-")
    parts = tuple((not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in release.split("."))
    return tuple(int(part) for part in numbers.split(".")), not release, parts if release else ()


def history(past: Sequence[tuple[str, Blueprint]], current: tuple[str, Blueprint]) -> History:
    """past: (source, blueprint) in any order, each source a file `v1.2.3.yaml`. The current blueprint may be the newest of
    them again, or be newer; what it says may change only with its version.
    """
    problems = []
    ordered = sorted(past, key=lambda entry: precedence(entry[1].version))
    for source, blueprint in ordered:
        expected = f"v{blueprint.version}.yaml"
        if source.rpartition("/")[2] != expected:
            problems.append(f"{source}: holds version {blueprint.version}; expected the file name {expected}")
    source, blueprint = current
    for other, past_blueprint in ordered:
        if past_blueprint.name != blueprint.name:
            problems.append(f"{other}: is about {past_blueprint.name}; expected {blueprint.name}")
    for (_, first), (other, second) in pairwise(ordered):
        if precedence(first.version) == precedence(second.version):
            problems.append(f"{other}: version {second.version} is there twice")
    if ordered:
        problems.extend(_risen(ordered[-1][1], source, blueprint))
    is_recorded = bool(ordered) and ordered[-1][1] == blueprint
    line = ordered if is_recorded else [*ordered, current]
    versions = [
        Version(at, entry, semantic_diff(line[index - 1][1], entry) if index else ())
        for index, (at, entry) in enumerate(line)
    ]
    return History(tuple(versions), tuple(problems))


def _risen(newest: Blueprint, source: str, current: Blueprint) -> list[str]:
    if precedence(current.version) < precedence(newest.version):
        return [f"{source}: version {current.version} is older than {newest.version} in the history"]
    if current.version == newest.version and not same_but_version(newest, current):
        changed = ", ".join(change.path for change in semantic_diff(newest, current)[:3])
        return [
            f"{source}: says something else than version {newest.version} in the history ({changed}); raise version"
        ]
    return []


def next_version(version: str) -> str:
    """The least version above this one: what a change is suggested to be called."""
    numbers, _, release = version.partition("-")
    if release:
        return numbers
    major, minor, patch = numbers.split(".")
    return f"{major}.{minor}.{int(patch) + 1}"
