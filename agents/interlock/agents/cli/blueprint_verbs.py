"""The verbs of blueprints and their arguments; the work is in the modules beside."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from interlock.agents.cli.parameters import Json

blueprint = App(name="blueprint", help="Blueprints: how services may be run, and what is done about it.")


@blueprint.command
def validate(*paths: Path, json: Json = False) -> int:
    """Check blueprints, their history and policies: every error at once, with its place. Exit 0 right, 1 not."""
    from interlock.agents.cli.blueprint_files import validate_paths

    return validate_paths(list(paths), json)


@blueprint.command
def history(path: Path, *, json: Json = False) -> int:
    """Every version of a blueprint and what it changed. PATH: a blueprint.yaml or its directory."""
    from interlock.agents.cli.blueprint_files import show_history

    return show_history(path, json)


@blueprint.command
def diff(old: Path, new: Path | None = None, *, json: Json = False) -> int:
    """What differs between two blueprints, value by value; with one, between it and the newest of its history.
    Exit 0 they ask for the same, 1 they do not.
    """
    from interlock.agents.cli.blueprint_files import show_diff

    return show_diff(old, new, json)
