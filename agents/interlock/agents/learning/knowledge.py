"""Lessons, backlog and next steps from how a goal went. Pure; every line derives from the request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from msgspec import Struct

from interlock.envelope.amounts import micro_usd
from interlock.envelope.payloads import Finding, KnowledgeRequest, TaskSummary
from interlock.skills.release.documents import code, markdown, told

LOW_SCORE = 850
ALERT_PERCENT = 80  # governance.md, Budgets
MAX_LINES = 40
SEVERITIES = ("critical", "high", "medium", "low", "info")
SERIOUS = ("critical", "high")


class Knowledge(Struct, frozen=True):
    lessons: list[str]
    backlog: list[str]
    next_steps: list[str]


def learn(request: KnowledgeRequest) -> Knowledge:
    return Knowledge(_lessons(request), _backlog(request), _next_steps(request))


def _lessons(request: KnowledgeRequest) -> list[str]:
    done = [task for task in request.tasks if task.status == "done"]
    total = request.tasks_total or len(request.tasks)
    lessons = [f"{request.tasks_done} of {total} tasks were done; the goal stands at {request.outcome}."]
    lessons += [
        f"Task {task.id} ({task.skill}) failed: {task.detail}" for task in request.tasks if task.status == "failed"
    ]
    lessons += [f"Task {task.id} ({task.skill}) needed {task.attempt} attempts." for task in done if task.attempt > 1]
    scope = "all tasks" if len(request.tasks) >= total else f"the {len(request.tasks)} tasks reported"
    lessons += [
        line
        for line in (
            _largest(done, lambda task: task.wall_ms, "ms of run time", scope),
            _largest(done, lambda task: task.cost_usd_micro, "micro-USD", scope),
        )
        if line
    ]
    limit, spent = micro_usd(request.budget.cost_usd), micro_usd(request.cost_usd)
    if limit:
        lessons.append(f"{request.cost_usd} USD were spent, {spent * 100 // limit} % of the budget.")
    lessons += [
        f"The score for {name} is {value} of 1000." for name, value in request.scores.items() if value < LOW_SCORE
    ]
    counts: Counter[str] = Counter(finding.severity for finding in request.findings)
    if counts:
        parts = ", ".join(f"{counts[severity]} {severity}" for severity in SEVERITIES if counts[severity])
        lessons.append(f"{counts.total()} finding(s): {parts}.")
    return lessons[:MAX_LINES]


def _largest(tasks: list[TaskSummary], measure: Callable[[TaskSummary], int], unit: str, scope: str) -> str:
    """The task that took most of something; nothing when there is nothing to compare."""
    total = sum(map(measure, tasks))
    if len(tasks) < 2 or not total:
        return ""
    most = max(tasks, key=measure)
    share = measure(most) * 100 // total
    return f"Task {most.id} ({most.skill}) took {measure(most)} {unit}, {share} % of {scope}."


def _backlog(request: KnowledgeRequest) -> list[str]:
    """Findings that ask for work, the worst first; `info` asks for none."""
    open_findings = [finding for finding in request.findings if finding.severity != "info" or finding.blocks]
    ranked = sorted(
        open_findings, key=lambda finding: (not finding.blocks, SEVERITIES.index(finding.severity), finding.id)
    )
    return [_mend(finding) for finding in ranked[:MAX_LINES]]


def _next_steps(request: KnowledgeRequest) -> list[str]:
    steps = []
    blocking = [finding for finding in request.findings if finding.blocks]
    if blocking:
        steps.append(f"Resolve the {len(blocking)} finding(s) that block release, then submit the goal again.")
    for gate in request.gates:
        if not gate.passed:
            failed = "; ".join(line.removeprefix("fails: ") for line in gate.evidence if line.startswith("fails"))
            steps.append(f"{gate.owner}: gate {gate.gate} ({gate.name}) failed on {failed}.")
    serious = [finding for finding in request.findings if finding.severity in SERIOUS and not finding.blocks]
    if serious:
        steps.append(f"Plan the {len(serious)} serious finding(s) that do not block into the next release.")
    limit, spent = micro_usd(request.budget.cost_usd), micro_usd(request.cost_usd)
    if limit and spent * 100 >= limit * ALERT_PERCENT:
        steps.append(f"Raise the budget of {request.budget.cost_usd} USD or plan less: little of it was left.")
    steps += [
        f"Find out why task {task.id} ({task.skill}) needed {task.attempt} attempts."
        for task in request.tasks
        if task.attempt > 1
    ]
    slow = _slow(request.tasks)
    if slow is not None:
        steps.append(f"Look at {slow.skill} first when the goal has to get faster.")
    return steps[:20]


def _slow(tasks: list[TaskSummary]) -> TaskSummary | None:
    """A task that takes more than half of all run time."""
    total = sum(task.wall_ms for task in tasks)
    return next((task for task in tasks if len(tasks) > 2 and task.wall_ms * 2 > total > 0), None)


def _mend(finding: Finding) -> str:
    place = f" ({finding.file}{f':{finding.line}' if finding.line else ''})" if finding.file else ""
    return f"[{finding.severity}{', blocks' if finding.blocks else ''}] {finding.message}{place}"


def knowledge_pack(request: KnowledgeRequest, knowledge: Knowledge, goal_id: str, at: str) -> str:
    """knowledge_pack.md. Foreign text is escaped; a part without lines is absent."""
    lines = [
        "# Knowledge pack",
        "",
        f"- Goal: {told(request.goal)}",
        f"- Goal id: {code(goal_id)}",
        f"- Written at: {at}",
    ]
    parts = (("Lessons", knowledge.lessons), ("Backlog", knowledge.backlog), ("Next steps", knowledge.next_steps))
    for title, entries in parts:
        if entries:
            lines += ["", f"## {title}", "", *[f"- {told(entry)}" for entry in entries]]
    return markdown(lines)
