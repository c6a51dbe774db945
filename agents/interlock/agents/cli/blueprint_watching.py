"""`interlock blueprint watch|apply|drift|reset`: blueprints and a cluster that is there."""

from __future__ import annotations

import fcntl
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec

from interlock.agents.blueprints.access import put_access
from interlock.agents.blueprints.bus_goals import BusGoals
from interlock.agents.blueprints.decision_log import DecisionLog
from interlock.agents.blueprints.decision_places import note_place
from interlock.agents.blueprints.eyes import Eyes, real_eyes
from interlock.agents.blueprints.fleet import Fleet
from interlock.agents.blueprints.loop import Loop, Mode
from interlock.agents.blueprints.ports import Ended, Goals
from interlock.agents.blueprints.resetting import Resets, sign_reset
from interlock.agents.blueprints.telling import Teller
from interlock.agents.blueprints.told import Told
from interlock.agents.blueprints.wanting import CHANGE_LOOK_S
from interlock.agents.blueprints.watched import RESET, Watched
from interlock.agents.cli.approving import Approve, answer_on_the_way
from interlock.agents.cli.blueprint_files import load_services, one_blueprint
from interlock.agents.cli.session import Session
from interlock.agents.cli.withdrawing import withdraw_approvals
from interlock.agents.errors import UserError
from interlock.agents.presence import until_signalled
from interlock.agents.supervision.house import house
from interlock.agents.workspace.keys import load_key, load_trust, write_private
from interlock.bus.clock import SystemClock
from interlock.bus.errors import BusError
from interlock.bus.tasks import background
from interlock.bus.transport import Transport
from interlock.envelope.ids import is_agent_id, role_of
from interlock.skills.errors import SkillsError
from interlock.skills.infrastructure.cluster.drift import drift
from interlock.skills.infrastructure.executing import KUBECONFIG

MOST_STEPS = 20
_PLACE = "blueprints"
# What was only tried is no past of what is done: a cooldown after a dry run would hold up the run.
_KEPT: dict[Mode, str] = {"act": "state", "dry_run": "dry-run", "shadow": "shadow"}


async def watch(
    session: Session, path: Path, kubeconfig: Path | None, every_s: int, mode: Mode, approve: Approve
) -> int:
    """Until SIGINT or SIGTERM. Each service is looked at by itself."""
    teller = Teller(sys.stdout, json=session.json)
    async with _ready(session, path, kubeconfig, mode, approve, teller, teller.told) as (loop, watched, _):
        teller.line(f"watching {len(watched)} services every {every_s} s ({mode.replace('_', ' ')})")

        async def look(service: Watched) -> None:
            while True:
                try:
                    await loop.look(service)
                except BusError as error:
                    if not error.retryable:
                        raise
                    # What was under way is on disk: the next look goes on with it.
                    teller.line(f"{service.name}: the broker is away, so nothing is done: {error}")
                # A changed blueprint is looked at when it changes, not when its turn comes.
                with anyio.move_on_after(every_s):
                    while not service.changed():
                        await anyio.sleep(CHANGE_LOOK_S)

        async with background() as group:
            for service in watched:
                group.start_soon(look, service)
            await until_signalled()
    return 0


async def apply(session: Session, path: Path, kubeconfig: Path | None, dry_run: bool, approve: Approve) -> int:
    """Acts until nothing is left to be done. Exit 0 then, 1 if something was taken back or is unknown, 2 if governance or a
    human said no.
    """
    last: dict[str, str] = {}
    teller = Teller(sys.stdout, json=session.json)

    def tell(told: Told) -> None:
        if told.record is not None and told.kind != "executed":
            last[told.service] = told.record.outcome
        teller.told(told)

    mode: Mode = "dry_run" if dry_run else "act"
    async with _ready(session, path, kubeconfig, mode, approve, teller, tell) as (loop, watched, eyes):
        for service in watched:
            for _ in range(MOST_STEPS):
                last.pop(service.name, None)
                await loop.look(service)
                pending = service.memory.pending
                if pending is not None:
                    await eyes.pass_time(max(0, pending.due_ms - eyes.now_ms()))
                elif last.get(service.name) != "success":
                    break
    ends = set(last.values())
    if ends & {"rolled_back", "unknown"} or len(last) < len(watched):
        return 1
    return 2 if ends & {"blocked", "rejected"} else 0


async def show_drift(path: Path, kubeconfig: Path | None, json: bool) -> int:
    """Exit 0 if every object is as its blueprint says, 1 if not."""
    found: list[dict[str, Any]] = []
    if kubeconfig is not None and not kubeconfig.is_file():
        raise UserError("unreadable", f"{kubeconfig} is no file", "Check --kubeconfig", 2)
    services = load_services(path)
    async with real_eyes(kubeconfig, Path(), services) as eyes:
        for service in services:
            blueprint = service.blueprint
            if blueprint is None:
                continue
            state = await eyes.observe(blueprint)
            differences = drift(blueprint, state)
            found.append(
                {
                    "name": blueprint.name,
                    "target": str(state.target),
                    "owner": state.owner,
                    "drift": msgspec.to_builtins(differences),
                }
            )
            if not json:
                owner = f", kept by {state.owner}" if state.owner else ""
                sys.stdout.write(f"{blueprint.name}: {len(differences)} differences{owner}\n")
                sys.stdout.writelines(f"  {difference}\n" for difference in differences)
    if json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    return 1 if any(entry["drift"] for entry in found) else 0


def reset(session: Session, path: Path, why: str, by: str) -> int:
    """Signs the order to close the breaker of a service, for the watcher's next look. Raises UserError where no watcher would
    obey it.
    """
    service = one_blueprint(path)
    place = session.layout.hidden / _PLACE / "state"
    if not place.is_dir():
        raise UserError("never_watched", f"nothing was watched in {session.layout.root}", "Check --dir", 2)
    if not is_agent_id(by) or role_of(by) != "human":
        raise UserError("not_human", f"{by[:80]!r} is no human", "Give --as human or --as human.NAME", 2)
    clock, key = SystemClock(), load_key(session.layout, by)
    order = sign_reset(key, workspace=session.workspace, service=service.name, why=why, by=by, at_ms=clock.now_ms())
    _, checked = Resets(partial(load_trust, session.layout), clock).judge(order, service.name, 0)
    if not checked.ok:
        raise UserError(
            "not_allowed", f"{checked.reason}: {checked.detail}", "Closing a breaker needs a human's key", 2
        )
    partial_file = place / f".{service.name}.order"
    write_private(partial_file, order)
    partial_file.replace(place / f"{service.name}{RESET}")
    session.say(f"the breaker of {service.name} closes at the next look", {"service": service.name, "by": by})
    return 0


@asynccontextmanager
async def _ready(
    session: Session,
    path: Path,
    kubeconfig: Path | None,
    mode: Mode,
    approve: Approve,
    teller: Teller,
    tell: Any,
) -> AsyncIterator[tuple[Loop, list[Watched], Eyes]]:
    """The loop over the services of a path. Shadow needs no broker."""
    services = load_services(path)
    place = session.layout.hidden / _PLACE
    keep = place / _KEPT[mode]
    access = put_access(kubeconfig, place / "access").parent
    destination = services[0].blueprint.governance.log_destination if services[0].blueprint else "logs"
    logs = session.layout.root / destination
    log = DecisionLog(logs)
    note_place(session.layout, logs)
    for service in services:
        if service.blueprint is not None:
            log.prune(service.blueprint, SystemClock().now_ms())
    keep.mkdir(parents=True, exist_ok=True)
    with _alone(keep):
        if mode == "dry_run":
            forget(keep)
        async with (
            real_eyes(access / KUBECONFIG, access, services) as eyes,
            _goals(session, mode, approve, access, teller) as goals,
        ):
            resets = Resets(partial(load_trust, session.layout), SystemClock())
            loop = Loop(eyes, goals, log, Fleet(keep), SystemClock(), resets=resets, tell=tell, mode=mode)
            yield loop, [Watched(service.path, keep) for service in services], eyes


def forget(keep: Path) -> None:
    """Takes away what is remembered of services there: the same dry run finds the same again."""
    for file in keep.glob("*.json"):
        file.unlink()


@contextmanager
def _alone(keep: Path) -> Iterator[None]:
    """Two watchers of one memory would act twice. Raises UserError."""
    with (keep / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            detail = f"somebody watches or applies blueprints in {keep.parent.parent.parent} already"
            raise UserError("already_watched", detail, "Stop that first, or use another --dir", 2) from error
        yield


@asynccontextmanager
async def _goals(session: Session, mode: Mode, approve: Approve, access: Path, teller: Teller) -> AsyncIterator[Goals]:
    """Goals at an Interlock that runs here, else at one of our own."""
    if mode == "shadow":
        yield _Nobody()
        return
    if session.nats or session.layout.running() is not None:
        async with session.connected() as transport:
            yield _bus_goals(session, transport, approve)
        return
    teller.line(f"starting nats-server and six roles in {session.layout.hidden}")
    async with house(session.layout, session.settings, grants=[access]) as home:
        yield _bus_goals(session, home.transport, approve)


def _bus_goals(session: Session, transport: Transport, approve: Approve) -> BusGoals:
    async def answer(goal_id: str) -> None:
        await answer_on_the_way(session, transport, goal_id, approve, sys.stderr if session.json else sys.stdout)

    refuse = partial(withdraw_approvals, session, transport)
    return BusGoals(transport, session.workspace, partial(load_trust, session.layout), refuse, answer)


class _Nobody:
    """Nobody acts in shadow mode."""

    async def run(self, goal: dict[str, Any], goal_id: str) -> Ended:
        raise SkillsError("shadow", f"nothing is done in shadow mode, and nobody runs goal {goal_id}: {goal['goal']}")

    async def withdraw(self, goal_id: str, why: str) -> bool:
        raise SkillsError("shadow", f"nobody runs goal {goal_id} in shadow mode, so nobody withdraws it: {why}")
