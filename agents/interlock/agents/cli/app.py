"""Verbs and their arguments; the work is in the modules beside."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from interlock.agents.cli.approval_verbs import approvals, approve, reject
from interlock.agents.cli.audit_verbs import audit
from interlock.agents.cli.bad_usage import told_usage
from interlock.agents.cli.blueprint_verbs import blueprint
from interlock.agents.cli.console_verbs import console
from interlock.agents.cli.dead_verbs import dead
from interlock.agents.cli.governance_verbs import budget, deviations
from interlock.agents.cli.parameters import Dir, Json, Nats, Out
from interlock.agents.cli.replay_verb import replay
from interlock.agents.cli.report_verbs import report
from interlock.agents.cli.session import Session
from interlock.agents.version import VERSION

app = App(
    name="interlock",
    help="Governed agents over NATS: run them, watch them, stop them, prove what they did.",
    version=VERSION,
)
app.command(audit)
app.command(blueprint)
keys = App(name="keys", help="Who may sign and log in: new keys, rotation, revocation.")
app.command(keys)
contract = App(name="contract", help="The signed mandate of this workspace: show it, change it, verify its history.")
app.command(contract)
app.command(deviations)
policy = App(name="policy", help="Policies: the Rego that judges every hop.")
app.command(policy)
app.command(dead)
app.command(console)
app.command(report)

for verb in (approvals, approve, reject, budget, replay):
    app.command(verb)


def dispatch(arguments: list[str]) -> int:
    """Parses and runs. Bad usage is exit 2 and one line."""
    try:
        command, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        sys.stderr.write(f"{told_usage(error)}\n")
        return 2
    result: Any = command(*bound.args, **bound.kwargs)
    return result if isinstance(result, int) else 0


@app.command
def init(
    directory: Path = Path(),
    *,
    secure: Annotated[bool, Parameter(negative="", help="One NKey user per role, with minimal permissions.")] = False,
    json: Json = False,
) -> int:
    """Scaffold a workspace: interlock.yaml, keys, an example goal and skill."""
    from interlock.agents.cli.scaffold import scaffold

    return scaffold(directory, secured=secure, json=json)


@app.command
def run(
    goal: Path,
    *,
    input: Annotated[
        tuple[str, ...], Parameter(name="--input", negative="", help="KEY=VALUE, replaces an input.")
    ] = (),
    approve: Annotated[
        Literal["ask", "auto", "never"],
        Parameter(help="Approvals: ask at a terminal and else wait; give all with the local key; refuse all."),
    ] = "ask",
    out: Out = None,
    dir: Dir = None,
    nats: Nats = "",
    json: Json = False,
) -> int:
    """Embedded NATS, all roles, this goal, wait, report. Exit 0 released, 2 blocked, 1 failed."""
    from interlock.agents.cli.run import run_goal

    return anyio.run(run_goal, Session(dir, nats, json), goal, input, out, approve)


@app.command
def up(
    *,
    dir: Dir = None,
    nats: Nats = "",
    cluster: Annotated[int, Parameter(help="3: so many nats-servers on this machine, for development.")] = 0,
    console: Annotated[bool, Parameter(negative="", help="Serve the web console too.")] = False,
    json: Json = False,
) -> int:
    """Start the roles as supervised processes and stay until interrupted."""
    from interlock.agents.cli.run import stay_up

    return anyio.run(stay_up, Session(dir, nats, json), cluster, console)


@app.command
def agents(*, dir: Dir = None, nats: Nats = "", json: Json = False) -> int:
    """Who runs in this workspace, what each has handled, and where its metrics are. Exit 1 if nobody answers."""
    from interlock.agents.cli.fleet import list_agents

    return anyio.run(list_agents, Session(dir, nats, json))


@app.command
def agent(
    role: str,
    *,
    dir: Dir = None,
    nats: Nats = "",
    metrics_port: Annotated[int | None, Parameter(help="Instead of telemetry.metrics_port.")] = None,
) -> int:
    """One role in the foreground: what a pod runs."""
    from interlock.agents.cli.agent import run_agent

    given = (("--dir", dir), ("--nats", nats or None), ("--metrics-port", metrics_port))
    return run_agent([role, *(word for name, value in given if value is not None for word in (name, str(value)))])


@app.command
def submit(
    goal: Path,
    *,
    input: Annotated[
        tuple[str, ...], Parameter(name="--input", negative="", help="KEY=VALUE, replaces an input.")
    ] = (),
    wait: Annotated[bool, Parameter(negative="", help="Until the goal ends; exit like `run`.")] = False,
    dir: Dir = None,
    nats: Nats = "",
    json: Json = False,
) -> int:
    """Publish a goal to a running Interlock."""
    from interlock.agents.cli.goals import submit_goal

    return anyio.run(submit_goal, Session(dir, nats, json), goal, input, wait)


@app.command
def goals(*, dir: Dir = None, nats: Nats = "", json: Json = False) -> int:
    """List the workspace's goals."""
    from interlock.agents.cli.goals import list_goals

    return anyio.run(list_goals, Session(dir, nats, json))


@app.command
def status(goal: str, *, dir: Dir = None, nats: Nats = "", json: Json = False) -> int:
    """Where a goal stands: gates, cost, findings. GOAL may be shortened as long as it is unique."""
    from interlock.agents.cli.goals import show_status

    return anyio.run(show_status, Session(dir, nats, json), goal)


@app.command
def watch(goal: str, *, dir: Dir = None, nats: Nats = "", json: Json = False) -> int:
    """Every hop of a goal as it happens, until the goal ends."""
    from interlock.agents.cli.goals import watch_goal

    return anyio.run(watch_goal, Session(dir, nats, json), goal)


@app.command
def trace(
    goal: str,
    *,
    fold: Annotated[int, Parameter(validator=Number(gte=0), help="Show N hops of a kind, fold the rest.")] = 0,
    dir: Dir = None,
    nats: Nats = "",
    json: Json = False,
) -> int:
    """The causal tree of a goal: hop, from → to, intent, age, duration, cost, verified."""
    from interlock.agents.cli.goals import show_trace

    return anyio.run(show_trace, Session(dir, nats, json), goal, fold)


@app.command
def flags(
    *, risk: Annotated[str, Parameter(help="For goals of this risk tier.")] = "", dir: Dir = None, json: Json = False
) -> int:
    """What each feature flag is worth here and now, and why."""
    from interlock.agents.cli.flags import show_flags

    return show_flags(Session(dir, "", json), risk)


@app.command
def doctor(*, dir: Dir = None, nats: Nats = "", json: Json = False) -> int:
    """What is wrong with this set-up, and how to mend it."""
    from interlock.agents.cli.doctor import examine

    return anyio.run(examine, dir, nats, json)


@app.command
def halt(
    scope: str,
    *,
    why: Annotated[str, Parameter(help="Told to everybody whom it stops.")] = "",
    by: Annotated[str, Parameter(name="--as", help="Whose key signs it.")] = "human",
    dir: Dir = None,
    nats: Nats = "",
    json: Json = False,
) -> int:
    """Stop: everything, workspace, role:R, agent:A, goal:ID, skill:S, target:T. In force everywhere within a second."""
    from interlock.agents.cli.halting import give

    return anyio.run(give, Session(dir, nats, json), "halt", scope, why, by)


@app.command
def resume(
    scope: str,
    *,
    why: Annotated[str, Parameter(help="For the record.")] = "",
    by: Annotated[str, Parameter(name="--as", help="Whose key signs it.")] = "human",
    dir: Dir = None,
    nats: Nats = "",
    json: Json = False,
) -> int:
    """End a halt: what waited goes on where it was."""
    from interlock.agents.cli.halting import give

    return anyio.run(give, Session(dir, nats, json), "resume", scope, why, by)


@app.command
def halts(*, dir: Dir = None, nats: Nats = "", json: Json = False) -> int:
    """List what is halted, by whom and why."""
    from interlock.agents.cli.halting import list_halts

    return anyio.run(list_halts, Session(dir, nats, json))


@contract.command(name="show")
def contract_show(
    version: int | None = None,
    *,
    proposal: Annotated[bool, Parameter(negative="", help="What is proposed instead.")] = False,
    dir: Dir = None,
    json: Json = False,
) -> int:
    """One version, the newest by default."""
    from interlock.agents.cli.contracting import show

    return show(Session(dir, "", json), version, proposal=proposal)


@contract.command(name="propose")
def contract_propose(
    *,
    set: Annotated[tuple[str, ...], Parameter(negative="", help="PATH=VALUE, such as quotas.perGoal.costUSD=5.")] = (),
    lifecycle: Annotated[str, Parameter(help="draft, active, frozen or retired.")] = "",
    change: Annotated[str, Parameter(help="The class of change a frozen contract is asked for.")] = "",
    why: Annotated[str, Parameter(help="Why, for the change request.")] = "",
    keep: Annotated[
        bool, Parameter(negative="", help="Keep the configuration that is pinned, not the one here.")
    ] = False,
    by: Annotated[str, Parameter(name="--as", help="Whose key signs the change request.")] = "human",
    dir: Dir = None,
    json: Json = False,
) -> int:
    """Propose the next version, for the configuration as it is now."""
    from interlock.agents.cli.contracting import propose

    return propose(Session(dir, "", json), set, lifecycle=lifecycle, change=change, why=why, keep=keep, asker=by)


@contract.command(name="sign")
def contract_sign(
    *,
    key: Annotated[str, Parameter(help="Whose key signs.")] = "human",
    dir: Dir = None,
    nats: Nats = "",
    json: Json = False,
) -> int:
    """Sign the proposal; with enough signatures it is in force."""
    from interlock.agents.cli.contracting import sign

    return anyio.run(sign, Session(dir, nats, json), key)


@contract.command(name="history")
def contract_history(*, dir: Dir = None, json: Json = False) -> int:
    """Every version, what it changed and who asked."""
    from interlock.agents.cli.contracting import history

    return history(Session(dir, "", json))


@contract.command(name="verify")
def contract_verify(
    *,
    head: Annotated[str, Parameter(help="What the newest version's contractRef must be.")] = "",
    dir: Dir = None,
    json: Json = False,
) -> int:
    """Verify the chain on disk with no network. Exit 0 valid, 2 not."""
    from interlock.agents.cli.contracting import verify

    return verify(Session(dir, "", json), head)


@policy.command(name="check")
def policy_check(*, dir: Dir = None, json: Json = False) -> int:
    """Vet and compile the policies, print their digest. Exit 2 if they may not be used."""
    from interlock.agents.cli.policies import check_policies

    return check_policies(Session(dir, "", json))


@policy.command(name="explain")
def policy_explain(goal: str, *, dir: Dir = None, nats: Nats = "", json: Json = False) -> int:
    """Which rule decides each hop of a goal, and what would be allowed instead."""
    from interlock.agents.cli.explaining import explain_goal

    return anyio.run(explain_goal, Session(dir, nats, json), goal)


@policy.command(name="test")
def policy_test(
    *,
    opa: Annotated[
        bool, Parameter(negative="", help="Also with the real `opa test`, which must be installed.")
    ] = False,
    dir: Dir = None,
    json: Json = False,
) -> int:
    """Run the policies' own tests. Exit 1 if one fails."""
    from interlock.agents.cli.policies import test_policies

    return test_policies(Session(dir, "", json), opa)


@keys.command(name="list")
def keys_list(*, dir: Dir = None, json: Json = False) -> int:
    """Every key ever enrolled, and how it stands."""
    from interlock.agents.cli.keyring import list_keys

    return list_keys(Session(dir, "", json))


@keys.command(name="new")
def keys_new(
    agent: str,
    *,
    capability: Annotated[tuple[str, ...], Parameter(negative="", help="What it may; default: its role's.")] = (),
    key: Annotated[
        str, Parameter(help="Of gateway.issuer: its key in Vault or OpenBao, such as hashivault:NAME.")
    ] = "",
    dir: Dir = None,
    nats: Nats = "",
    json: Json = False,
) -> int:
    """Enrol an agent that has no good key: human.ada, executor.gpu, or a role whose keys were revoked."""
    from interlock.agents.cli.keyring import new_key

    return anyio.run(new_key, Session(dir, nats, json), agent, capability, key)


@keys.command(name="rotate")
def keys_rotate(
    agent: str,
    *,
    overlap_ms: Annotated[int, Parameter(help="How long the old key stays good; default: the longest ttl.")] = -1,
    dir: Dir = None,
    nats: Nats = "",
    json: Json = False,
) -> int:
    """Give an agent a new key while goals run: enrolled first, used once everybody knows it, then the old one ends."""
    from interlock.agents.cli.keyring import rotate_key

    return anyio.run(rotate_key, Session(dir, nats, json), agent, overlap_ms)


@keys.command(name="revoke")
def keys_revoke(key: str, *, why: str, dir: Dir = None, nats: Nats = "", json: Json = False) -> int:
    """End a key at once: KEY is its public form, as `keys list` shows it."""
    from interlock.agents.cli.keyring import revoke_key

    return anyio.run(revoke_key, Session(dir, nats, json), key, why)
