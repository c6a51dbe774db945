"""The verbs of blueprints and their arguments; the work is in the modules beside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import anyio
from cyclopts import App, Parameter
from cyclopts.validators import Number

from interlock.agents.cli.parameters import Dir, Json, Nats, Out
from interlock.agents.cli.session import Session

Metrics = Annotated[Path | None, Parameter(help="A CSV trace; default: the blueprint's own.")]
Every = Annotated[int, Parameter(help="Seconds from one look to the next.")]
Replicas = Annotated[int | None, Parameter(help="To begin with; default: the trace's, else target_replicas.")]
Kubeconfig = Annotated[Path | None, Parameter(help="Default: KUBECONFIG, else ~/.kube/config.")]
DryRun = Annotated[bool, Parameter(negative="", help="The cluster checks everything and keeps nothing.")]
Approvals = Annotated[
    Literal["ask", "auto", "never"],
    Parameter(help="Approvals: ask at a terminal and else wait; give all with the local key; refuse all."),
]

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
    path: Path,
    *,
    metrics: Metrics = None,
    kubeconfig: Annotated[
        Path | None, Parameter(help="Look at this cluster once, instead of a trace; reads only.")
    ] = None,
    every: Every = 15,
    replicas: Replicas = None,
    json: Json = False,
) -> int:
    """The next decision, with its reasons: after the last measurement of a trace, or for a cluster as it is. Nothing is
    changed.
    """
    from interlock.agents.cli.blueprint_simulating import plan_from_cluster, plan_from_trace

    if kubeconfig is not None:
        return anyio.run(plan_from_cluster, path, kubeconfig, json)
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


@blueprint.command
def watch(
    path: Path,
    *,
    shadow: Annotated[bool, Parameter(negative="", help="Decide and log, change nothing; needs no broker.")] = False,
    dry_run: DryRun = False,
    every: Annotated[int, Parameter(validator=Number(gte=1, lte=60), help="Seconds from one look to the next.")] = 15,
    approve: Approvals = "ask",
    kubeconfig: Kubeconfig = None,
    dir: Dir = None,
    nats: Nats = "",
    json: Json = False,
) -> int:
    """Run services by their blueprints, and stay: each action is a goal. A changed blueprint is in force at the next look."""
    from interlock.agents.cli import blueprint_watching

    mode: Literal["shadow", "dry_run", "act"] = "shadow" if shadow else "dry_run" if dry_run else "act"
    return anyio.run(blueprint_watching.watch, Session(dir, nats, json), path, kubeconfig, every, mode, approve)


@blueprint.command
def apply(
    path: Path,
    *,
    dry_run: DryRun = False,
    approve: Approvals = "ask",
    kubeconfig: Kubeconfig = None,
    dir: Dir = None,
    nats: Nats = "",
    json: Json = False,
) -> int:
    """Bring services to their blueprints, step by step, each verified. Exit 0 nothing is left to do, 1 something was taken
    back or is unknown, 2 governance or a human said no.
    """
    from interlock.agents.cli import blueprint_watching

    return anyio.run(blueprint_watching.apply, Session(dir, nats, json), path, kubeconfig, dry_run, approve)


@blueprint.command
def drift(path: Path, *, kubeconfig: Kubeconfig = None, json: Json = False) -> int:
    """Where objects differ from their blueprints. Reads only. Exit 0 nowhere, 1 somewhere."""
    from interlock.agents.cli import blueprint_watching

    return anyio.run(blueprint_watching.show_drift, path, kubeconfig, json)


@blueprint.command
def reset(
    path: Path,
    *,
    why: Annotated[str, Parameter(help="What was found, for the log.")] = "",
    by: Annotated[str, Parameter(name="--as", help="Whose key signs it: human, or human.NAME.")] = "human",
    dir: Dir = None,
    json: Json = False,
) -> int:
    """Close the breaker of a service, and that of all, when a human has looked at what failed: an order signed with a
    human's key, which the watcher obeys at its next look, once.
    """
    from interlock.agents.cli import blueprint_watching

    return blueprint_watching.reset(Session(dir, "", json), path, why, by)


@blueprint.command
def score(path: Path, *, json: Json = False) -> int:
    """Measure the success criteria SC-001 to SC-010 on blueprints. PATH: their directory. Exit 1 if one is not met."""
    from interlock.agents.cli.blueprint_scoring import show_scores

    return show_scores(path, json)
