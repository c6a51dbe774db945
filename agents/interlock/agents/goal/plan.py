"""The plan graph: checks before it may run, with every problem and its path (ROL-02, gate G1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from interlock.agents.goal.references import problem_with, reference_in, references, task_of
from interlock.envelope.amounts import ZERO, Amount
from interlock.envelope.payloads import TaskSpec

MAX_TASKS = 2_000


class Problem(Struct, frozen=True):
    """One thing wrong with an intake or plan: JSON path and a line for people."""

    path: str
    message: str


def plan_problems(
    tasks: Sequence[TaskSpec], release: TaskSpec | None, has_skill: Callable[[str], bool], base: str = "$.tasks"
) -> list[Problem]:
    """Empty if the plan can run: ids unique, skills known, dependencies there and acyclic, references resolvable."""
    problems: list[Problem] = []
    if not tasks:
        problems.append(Problem(base, "a plan needs at least one task"))
    if len(tasks) > MAX_TASKS:
        problems.append(Problem(base, f"{len(tasks)} tasks; at most {MAX_TASKS}"))
    ids: set[str] = set()
    for index, task in enumerate(tasks):
        if task.id in ids:
            problems.append(Problem(f"{base}[{index}].id", f"`{task.id}` is there twice"))
        ids.add(task.id)
    for index, task in enumerate(tasks):
        problems += _task_problems(task, f"{base}[{index}]", ids, has_skill, free=False)
    if release is not None:
        problems += _task_problems(release, base.replace("tasks", "release"), ids, has_skill, free=True)
    cycle = _cycle(tasks)
    if cycle:
        problems.append(Problem(base, f"these tasks wait for each other: {' → '.join(cycle)}"))
    return problems


def _task_problems(
    task: TaskSpec, path: str, ids: set[str], has_skill: Callable[[str], bool], *, free: bool
) -> list[Problem]:
    problems: list[Problem] = []
    if not has_skill(task.skill):
        problems.append(Problem(f"{path}.skill", f"there is no skill `{task.skill}`"))
    for kind, names in (("after", task.after), ("files", task.files)):
        for index, name in enumerate(names):
            if name not in ids or name == task.id:
                problems.append(Problem(f"{path}.{kind}[{index}]", f"there is no other task `{name}`"))
    if task.each and reference_in(task.each) is None:
        problems.append(Problem(f"{path}.each", "must be a reference such as ${inputs.items}"))
    before = ids if free else {*task.after, *task.files}
    found = [*references(task.input), *references({"each": task.each})]
    for where, reference in found:
        wrong = problem_with(reference)
        source = task_of(reference)
        if not wrong and source is not None and source not in before:
            wrong = (
                f"`{source}` is not among the tasks it runs after" if source in ids else f"there is no task `{source}`"
            )
        if wrong:
            problems.append(Problem(f"{path}.input{where[1:]}", f"${{{reference}}}: {wrong}"))
    return problems


def predecessors(task: TaskSpec) -> list[str]:
    """What a task waits for: `after` and the tasks whose files it takes."""
    return list(dict.fromkeys([*task.after, *task.files]))


def _cycle(tasks: Sequence[TaskSpec]) -> list[str]:
    """Some cycle, or empty. Kahn's algorithm leaves exactly the tasks on or behind cycles."""
    waits = {task.id: set(predecessors(task)) for task in tasks}
    ready = [name for name, before in waits.items() if not before]
    followers: dict[str, list[str]] = {}
    for name, before in waits.items():
        for earlier in before:
            followers.setdefault(earlier, []).append(name)
    counts = {name: len(before) for name, before in waits.items()}
    while ready:
        for follower in followers.get(ready.pop(), []):
            counts[follower] -= 1
            if counts[follower] == 0:
                ready.append(follower)
    left = [name for name, count in counts.items() if count > 0]
    if not left:
        return []
    path = [left[0]]
    while True:
        following = next((name for name in sorted(waits[path[-1]]) if counts.get(name, 0) > 0), None)
        if following is None:
            return []  # waits for a task that is not there: reported elsewhere
        if following in path:
            return [*path[path.index(following) :], following]
        path.append(following)


class Shares(Struct, frozen=True):
    """How a goal's budget is divided: what each task without a budget of its own gets."""

    automatic: Amount
    wanted: Amount


def share_out(tasks: Sequence[TaskSpec], instances: Callable[[TaskSpec], int], total: Amount) -> Shares:
    """Static division of a budget: tasks that name a budget get it, the others share three quarters of the rest
    evenly; a quarter stays for second attempts. wanted: the sum, to be compared with the total before starting.
    """
    named, automatic = ZERO, 0
    for task in tasks:
        count = instances(task)
        own = task.budget.amount
        if own.is_zero:
            automatic += count
        else:
            named = named + times(own, count)
    if not automatic:
        return Shares(ZERO, named)
    rest = total - named
    share = Amount(
        max(0, rest.tokens * 3 // 4 // automatic),
        max(0, rest.usd_micro * 3 // 4 // automatic),
        max(0, rest.wall_ms * 3 // 4 // automatic),
        max(1, rest.actions * 3 // 4 // automatic),
    )
    return Shares(share, named + times(share, automatic))


def half(amount: Amount) -> Amount:
    """Half of what is left, for a second attempt; of actions at least one while there is one."""
    return Amount(amount.tokens // 2, amount.usd_micro // 2, amount.wall_ms // 2, (amount.actions + 1) // 2)


def times(amount: Amount, count: int) -> Amount:
    return Amount(amount.tokens * count, amount.usd_micro * count, amount.wall_ms * count, amount.actions * count)
