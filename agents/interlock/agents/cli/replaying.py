"""`interlock replay`: a goal from the stream or a bundle, through today's code; live; into a sandbox."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct

from interlock.agents.cli.session import Session, find_goal
from interlock.agents.errors import UserError
from interlock.agents.replay.compare import Divergence, ReplayReport
from interlock.agents.replay.recording import Recording, RecordingError, from_bundle, from_stream
from interlock.agents.status import read_status
from interlock.agents.workspace.config_dir import config_dir
from interlock.agents.workspace.files import read_file
from interlock.agents.workspace.keys import load_roots, load_trust
from interlock.agents.workspace.policies import policy_directories, refused
from interlock.bus.errors import NotFound
from interlock.bus.policy.errors import PolicyError
from interlock.bus.records import Seals
from interlock.bus.sender import Identity
from interlock.bus.streams import HOPS
from interlock.bus.transport import Transport
from interlock.envelope.amounts import time_ms
from interlock.envelope.keys import SigningKey
from interlock.envelope.payloads import ArtefactRef
from interlock.envelope.subjects import workspace_subject
from interlock.envelope.trust import Trust

if TYPE_CHECKING:
    from interlock.agents.replay.code import Code
    from interlock.agents.replay.live import LiveReport

SHOWN_BYTES = 400


class Wanted(Struct, frozen=True, kw_only=True):
    """What was asked for; see the verb."""

    goal: str
    from_sequence: int = 0
    from_time: str = ""
    live: bool = False
    report: bool = False
    to: str = ""
    pace: Literal["original", "full"] = "full"
    skills: tuple[Path, ...] = ()
    roots: tuple[str, ...] = ()


class _Trusted(Struct, frozen=True):
    trust: Trust


async def replay_goals(session: Session, wanted: Wanted) -> int:
    """Exit 0: all decisions equal, and with live at least 950 thousandths of the answers; 2: not."""
    since_ms = _checked(wanted)
    async with AsyncExitStack() as stack:
        file = Path(wanted.goal) if wanted.goal else None
        if file is not None and (file.is_file() or file.name.endswith(".gz")):
            recording = _from_file(session, file, wanted)
            transport = await stack.enter_async_context(session.connected()) if wanted.to else None
            return await _each(session, wanted, [recording], transport)
        # Told again to a broker that nobody else reaches, hops are heard by nobody.
        transport = await stack.enter_async_context(session.connected(offline=not wanted.to))
        names = [wanted.goal] if wanted.goal else [name async for name in _since(session, transport, wanted, since_ms)]
        if not names:
            raise UserError("no_goals", "no goal entered since then", "`interlock goals` lists them", 2)
        recordings = [await _from_stream(session, transport, name) for name in names]
        return await _each(session, wanted, recordings, transport)


def _checked(wanted: Wanted) -> int:
    """The time to begin at, ms. Raises UserError for arguments that do not go together."""
    from interlock.agents.replay.sandbox import is_prefix

    if bool(wanted.goal) == bool(wanted.from_sequence or wanted.from_time):
        raise UserError("bad_usage", "give a goal or bundle, or --from-sequence or --from-time", exit_code=2)
    if wanted.to and (wanted.live or not is_prefix(wanted.to)):
        detail = "--to takes up to eight tokens of letters, digits, _ and -, and goes without --live"
        raise UserError("bad_usage", detail, exit_code=2)
    try:
        return time_ms(wanted.from_time) if wanted.from_time else 0
    except ValueError as error:
        raise UserError("bad_time", f"--from-time: {error}", "Write it like 2026-01-31T12:00:00.000Z", 2) from error


def _from_file(session: Session, path: Path, wanted: Wanted) -> Recording:
    from interlock.agents.audit.packing import MAX_BYTES

    pinned = list(wanted.roots) or (load_roots(session.layout) if session.layout.roots.exists() else [])
    try:
        return from_bundle(read_file(path, MAX_BYTES), pinned)
    except RecordingError as error:
        raise UserError(error.reason, f"{path}: {error}", "`interlock audit verify` says more", 2) from error


async def _from_stream(session: Session, transport: Transport, name: str) -> Recording:
    from interlock.agents.contract.store import load_contract

    status = await find_goal(transport, session.workspace, name)
    # Seals are only checked here, and by the trust store's keys: whose key this is does not matter.
    seals = Seals(Identity("orchestrator", SigningKey.generate()), _Trusted(load_trust(session.layout)))
    return await from_stream(
        transport,
        session.workspace,
        status.goal_id,
        seals=seals,
        chain=load_contract(session.layout),
        limits=session.settings.hops.limits,
        ended=status.phase == "ended",
    )


async def _since(session: Session, transport: Transport, wanted: Wanted, since_ms: int) -> AsyncIterator[str]:
    """Goals whose intake was stored then or later, in that order."""
    intakes = workspace_subject(session.workspace, "role", "orchestrator", "*", "plan")
    begin: dict[str, Any] = {"from_sequence": max(1, wanted.from_sequence)}
    async with aclosing(transport.read(HOPS.name, [intakes], **begin)) as messages:
        seen: set[str] = set()
        async for message in messages:
            goal_id = message.subject.split(".")[4]
            if message.stored_ms < since_ms or goal_id in seen:
                continue
            seen.add(goal_id)
            if await read_status(transport, session.workspace, goal_id) is not None:
                yield goal_id


async def _each(session: Session, wanted: Wanted, recordings: list[Recording], transport: Transport | None) -> int:
    if wanted.to and transport is not None:
        return await _into_sandbox(session, wanted, recordings, transport)
    from interlock.agents.replay.code import load_code
    from interlock.agents.replay.decide import replay

    settings, root = session.settings, session.layout.root
    skills = [(root / path).resolve() for path in settings.skills] + [path.resolve() for path in wanted.skills]
    playbooks = [(root / path).resolve() for path in settings.playbooks]
    code_of: dict[str, Code] = {}
    good = True
    for recording in recordings:
        if recording.workspace not in code_of:
            try:
                code_of[recording.workspace] = load_code(
                    config_dir(),
                    skills=skills,
                    playbooks=playbooks,
                    workspace=recording.workspace,
                    environment=settings.environment,
                    policies=policy_directories(session.layout, settings),
                )
            except PolicyError as error:
                raise refused(error) from error
            except ValueError as error:
                raise UserError("bad_playbook", str(error), exit_code=2) from error
        code = code_of[recording.workspace]
        began = time.perf_counter()
        report = replay(recording, code)
        took_s = max(time.perf_counter() - began, 1e-6)
        live = await _live(session, recording, code, transport) if wanted.live else None
        good = good and report.first is None and (live is None or live.ok)
        _tell(session, report, live, round(report.hops / took_s))
        if wanted.report and transport is not None:
            from interlock.agents.cli.deviating import report_determinism

            agreed = report.equal * 1000 // report.decisions if report.decisions else 1000
            per_mille = min(agreed, 1000 if live is None else live.per_mille)
            await report_determinism(session, transport, report.goal_id, per_mille)
    return 0 if good else 2


async def _live(session: Session, recording: Recording, code: Code, transport: Transport | None) -> LiveReport:
    from interlock.agents.artefacts import ArtefactCache
    from interlock.agents.replay.live import Grants, replay_live
    from interlock.skills.runner import RunnerSettings

    settings = session.settings
    with tempfile.TemporaryDirectory(prefix="interlock-replay-files-") as place:
        cache = None if transport is None else ArtefactCache(transport, Path(place))

        async def file_of(ref: ArtefactRef) -> Path | None:
            try:
                return None if cache is None else await cache.path_of(ref)
            except NotFound:
                return None

        runner = RunnerSettings(concurrency=settings.concurrency, isolation=settings.isolation)
        read_roots = tuple((session.layout.root / path).resolve() for path in settings.input_roots)
        return await replay_live(recording, code.catalogue.registry, runner, Grants(read_roots, config_dir()), file_of)


async def _into_sandbox(session: Session, wanted: Wanted, recordings: list[Recording], transport: Transport) -> int:
    from interlock.agents.replay.sandbox import SANDBOX, republish

    hops = sorted((hop for recording in recordings for hop in recording.hops), key=lambda hop: hop.sequence)
    count = await republish(transport, hops, wanted.to, wanted.pace)
    subject = f"{SANDBOX}.{wanted.to}.>"
    session.say(f"{count} hops told again on {subject}", {"hops": count, "subject": subject, "pace": wanted.pace})
    return 0


def _tell(session: Session, report: ReplayReport, live: LiveReport | None, per_s: int) -> None:
    lines = [f"goal {report.goal_id}: {report.equal} of {report.decisions} decisions equal ({report.hops} hops)"]
    if report.unanswered:
        lines.append(f"  {report.unanswered} decisions with no recorded answer")
    if report.first is not None:
        lines += _lines_of(report.first, len(report.divergences))
    if live is not None:
        lines.append(f"  live: {live.equal} of {live.run} answers equal ({live.per_mille} per mille; wanted 950)")
        lines += [
            f"    {found.task} ({found.skill})\n      then {found.recorded}\n      now  {found.now}"
            for found in live.differences[:5]
        ]
        if live.not_run:
            lines.append(f"    {len(live.not_run)} not run again: {', '.join(sorted(set(live.not_run.values())))}")
    told: dict[str, Any] = msgspec.to_builtins(report)
    told |= {"first": None if report.first is None else msgspec.to_builtins(report.first), "hopsPerSecond": per_s}
    if live is not None:
        told["live"] = msgspec.to_builtins(live) | {"perMille": live.per_mille}
    session.say("\n".join(lines), told)


def _lines_of(first: Divergence, count: int) -> list[str]:
    place = f"hop {first.hop} (sequence {first.sequence})" if first.hop else "the journal"
    return [
        f"  first of {count} divergences: {place}, {first.kind}: {first.what}, {first.path}",
        f"    then {_short(first.recorded)}",
        f"    now  {_short(first.now)}",
    ]


def _short(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= SHOWN_BYTES else f"{text[:SHOWN_BYTES]}…"
