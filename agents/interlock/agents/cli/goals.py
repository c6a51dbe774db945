"""Verbs about goals of a running Interlock, or of a workspace's store."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import msgspec

from interlock.agents.audit.auditor import goal_messages, is_truncated
from interlock.agents.audit.hop_graph import Following
from interlock.agents.cli.confirming import MEND, confirm, contradictions, problem_and_mend
from interlock.agents.cli.deviating import line as deviation_line
from interlock.agents.cli.deviating import open_deviations, value_of
from interlock.agents.cli.goal_file import load_goal
from interlock.agents.cli.halting import concerning, halts_in_force, line, told
from interlock.agents.cli.holding_up import HoldingUp
from interlock.agents.cli.progress import Progress
from interlock.agents.cli.report import exit_code, report_text, report_value
from interlock.agents.cli.session import Session, find_goal, statuses
from interlock.agents.cli.submission import goal_hops, publish_goal, wait_for_audit, wait_for_end
from interlock.agents.status import read_audit
from interlock.agents.trace.render import lines_of, visible
from interlock.agents.trace.render import told as told_branch
from interlock.agents.trace.tree import Growing, tree_of
from interlock.agents.workspace.keys import load_trust
from interlock.bus.tasks import background


async def submit_goal(session: Session, path: Path, replaced: Sequence[str], wait: bool) -> int:
    goal = load_goal(path, replaced)
    async with session.connected() as transport:
        goal_id = await publish_goal(transport, session.workspace, goal.data)
        if not wait:
            session.say(goal_id, {"goalId": goal_id})
            return 0
        holding = HoldingUp(goal_id, lambda: halts_in_force(session, transport), Progress(sys.stderr).line)
        async with background() as group:
            group.start_soon(holding.watch)
            status = await wait_for_end(transport, session.workspace, goal_id, holding.show)
        await confirm(session, transport, status)
        audited = await wait_for_audit(transport, session.workspace, goal_id)
        session.say(report_text(status, audited, None), report_value(status, audited, None))
        return exit_code(status)


async def list_goals(session: Session) -> int:
    async with session.connected(offline=True) as transport:
        found = await statuses(transport, session.workspace)
        wrong: dict[str, str] = {}
        if session.layout.trust.exists():
            trust, limits = load_trust(session.layout), session.settings.hops.limits
            wrong = await contradictions(transport, session.workspace, found, trust, limits)
        halted = [] if session.json else await halts_in_force(session, transport)
        broken = [] if session.json else await open_deviations(session, transport)
        now_ms = transport.clock.now_ms()
    if session.json:
        session.say(
            "", [msgspec.to_builtins(status) | {"contradiction": wrong.get(status.goal_id, "")} for status in found]
        )
        return 1 if wrong else 0
    for order in halted:
        session.say(line(order))
    for one in broken:
        session.say(f"deviation {deviation_line(one, now_ms)}")
    for status in found:
        stands = status.outcome or status.phase
        text = visible(status.goal)[:60]
        session.say(
            f"{status.goal_id}  {stands:<9} {status.tasks_done}/{status.tasks_total}  {status.started_at}  {text}"
        )
        if status.goal_id in wrong:
            session.say(f"  not confirmed: {wrong[status.goal_id]}; {MEND}")
    if not found:
        session.say("no goals yet")
    return 1 if wrong else 0


async def show_status(session: Session, name: str) -> int:
    async with session.connected(offline=True) as transport:
        status = await find_goal(transport, session.workspace, name)
        audited = await read_audit(transport, session.workspace, status.goal_id)
        halts = concerning(await halts_in_force(session, transport), status.goal_id)
        broken = [
            one
            for one in await open_deviations(session, transport)
            if not one.about.startswith("goal:") or one.about == f"goal:{status.goal_id}"
        ]
        now_ms = transport.clock.now_ms()
        problem, mend = "", MEND
        if session.layout.trust.exists():
            problem, mend = await problem_and_mend(session, transport, status)
    value = report_value(status, audited, None) | {
        "halts": [told(order) for order in halts],
        "deviations": [value_of(one, now_ms) for one in broken],
        "contradiction": problem,
    }
    lines = [f"NOT CONFIRMED: {problem}. {mend}"] if problem else []
    lines += [*map(line, halts), *(f"deviation {deviation_line(one, now_ms)}" for one in broken)]
    session.say("\n".join([report_text(status, audited, None), *lines]), value)
    return 1 if problem else 0


async def show_trace(session: Session, name: str, fold: int) -> int:
    """fold: of more hops alike below one hop, how many are shown; 0: all."""
    trust = load_trust(session.layout)
    async with session.connected(offline=True) as transport:
        status = await find_goal(transport, session.workspace, name)
        messages = await goal_messages(transport, session.workspace, status.goal_id)
    roots = tree_of(messages, trust, session.settings.hops.limits)
    if session.json:
        session.say("", [msgspec.to_builtins(root) for root in roots])
        return 0
    for text in lines_of(roots, fold):
        session.say(text)
    if is_truncated(messages):
        session.say(f"… only the first {len(messages)} hops")
    return 0


async def watch_goal(session: Session, name: str) -> int:
    """Hops as they come; ends with the goal's completion."""
    trust = load_trust(session.layout)
    async with session.connected(offline=True) as transport:
        status = await find_goal(transport, session.workspace, name)
        following, growing = Following(trust, session.settings.hops.limits), Growing()
        async with aclosing(goal_hops(transport, session.workspace, status.goal_id)) as messages:
            async for message in messages:
                branch = growing.add(following.heard(message))
                session.say(told_branch(branch), msgspec.to_builtins(branch))
                if message.subject.endswith(".complete"):
                    return 0
    return 0
