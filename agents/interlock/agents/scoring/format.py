"""SC-001: whether everything that has to be said about a service can be said in a blueprint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from interlock.agents.scoring.accuracy import SEED_PATH
from interlock.agents.scoring.model import Score, Subject, share
from interlock.bus.yaml12 import load_yaml
from interlock.skills.infrastructure.blueprint.format import leaves
from interlock.skills.infrastructure.blueprint.reading import read_blueprint
from interlock.skills.infrastructure.blueprint.writing import yaml_text


def completeness(subjects: Sequence[Subject]) -> Score:
    """Every setting of seed 001's complete example is one of the format's, and is still there after reading and writing;
    so are the given blueprints.
    """
    named = sorted(set(_paths(load_yaml(SEED_PATH.read_bytes(), source=SEED_PATH.name).value, "")))
    known = [path for path in named if _is_known(path)]
    kept = [_survives(SEED_PATH), *(_same(subject) for subject in subjects)]
    return Score(
        criterion="SC-001",
        title="Blueprint completeness",
        target="100 % of the infrastructure is codified",
        met=len(known) == len(named) > 0 and all(kept),
        measured=share(len(known), len(named)),
        evidence=(
            "settings of seed 001's complete example that the format knows",
            f"{sum(kept)} of {len(kept)} blueprints say the same after being written and read again",
            *(f"not in the format: {path}" for path in named if path not in known),
        ),
    )


def _paths(node: Any, path: str) -> Iterator[str]:
    """Every value by its path; items of a list share theirs."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _paths(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list) and any(isinstance(item, dict) for item in node):
        for item in node:
            yield from _paths(item, path)
    else:
        yield path


def _is_known(path: str) -> bool:
    """A leaf itself, or something inside the items of a leaf that is a list."""
    return path in leaves() or path.rpartition(".")[0] in leaves()


def _survives(path: Path) -> bool:
    blueprint = read_blueprint(path.read_bytes(), source=path.name).blueprint
    return blueprint is not None and read_blueprint(yaml_text(blueprint), source="again").blueprint == blueprint


def _same(subject: Subject) -> bool:
    again = read_blueprint(yaml_text(subject.blueprint), source="again").blueprint
    return again is not None and again.digest == subject.blueprint.digest
