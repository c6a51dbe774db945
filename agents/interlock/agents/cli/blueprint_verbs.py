"""The verbs of blueprints and their arguments; the work is in the modules beside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from interlock.agents.cli.parameters import Json, Out

Metrics = Annotated[Path | None, Parameter(help="A CSV trace; default: the blueprint's own.")]
Every = Annotated[int, Parameter(help="Seconds from one look to the next.")]
Replicas = Annotated[int | None, Parameter(help="To begin with; default: the trace's, else target_replicas.")]

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


@blueprint.command
def plan(
    path: Path, *, metrics: Metrics = None, every: Every = 15, replicas: Replicas = None, json: Json = False
) -> int:
    """The next decision, with its reasons, after the last measurement of a trace. Nothing is changed."""
    from interlock.agents.cli.blueprint_simulating import plan_from_trace

    return plan_from_trace(path, metrics, every, replicas, json)


@blueprint.command
def simulate(
    path: Path,
    *,
    metrics: Metrics = None,
    every: Every = 15,
    replicas: Replicas = None,
    approve: Annotated[
        bool, Parameter(negative="", help="Carry out what needs an approval, as if it had been given.")
    ] = False,
    out: Out = None,
    json: Json = False,
) -> int:
    """Replay a metrics trace against a blueprint: what would have been done, and a drawing of it (-o FILE.svg)."""
    from interlock.agents.cli.blueprint_simulating import simulate_trace

    return simulate_trace(path, metrics, every, replicas, approve, out, json)
