"""Starting tasks: expanding fan-outs, resolving references, granting budgets (ROL-02). Changes the state given."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock.agents.goal.approving import ask_task, launched, needs_approval
from interlock.agents.goal.plan import half
from interlock.agents.goal.references import BadReference, dig, resolve
from interlock.agents.goal.state import GoalState, Node, Send, TaskState, Withheld, summary
from interlock.envelope.amounts import timestamp
from interlock.envelope.canonical import canonical
from interlock.envelope.children import Draft
from interlock.envelope.kind_quota import kind_of
from interlock.envelope.payloads import ArtefactRef, Ground, Task, TaskSpec, TaskSummary

MAX_ATTEMPTS = 3
MAX_FAN_OUT = 1_000
# Leaves room in an envelope of 256 KiB for everything that is not the task's input.
MAX_INPUT_BYTES = 160 * 1024


def start_ready(state: GoalState, names: list[str], at_ms: int) -> list[Send]:
    """Starts these nodes, whose predecessors are done; nodes that turn out empty (a fan-out over nothing) are done at
    once and may make others ready.
    """
    sends: list[Send] = []
    queue = list(names)
    while queue and not state.failed:
        node = state.nodes[queue.pop(0)]
        if not _expand(state, node):
            continue
        for task in node.instances:
            sends += start(state, task, node.spec, at_ms)
        if node.done:
            queue += followers_ready(state, node)
    return sends


def followers_ready(state: GoalState, node: Node) -> list[str]:
    """Called once when a node is done: the followers that now wait for nothing."""
    ready = []
    for name in node.followers:
        follower = state.nodes[name]
        follower.waits -= 1
        if follower.waits == 0:
            ready.append(name)
    return ready


def start(state: GoalState, task: TaskState, spec: TaskSpec, at_ms: int) -> list[Send]:
    """The next attempt of a task, or the question whether it may be made; no command if it cannot be started, and then
    the task has failed with a detail.
    """
    mandate = state.mandate
    if mandate is None:
        raise RuntimeError("a task cannot start before the plan is reviewed")
    left = mandate.budget - state.granted
    stated = spec.budget.amount
    kind = kind_of(state.began.kinds, spec.skill) if state.began is not None else None
    if kind is not None and not stated.within(kind.per_task.amount):
        told = f"one of the kind {kind.kind} may cost {kind.per_task.told} (quotas.kinds of the contract)"
        return fail(state, task, "over_quota", f"asks for {stated.budget}; {told}")
    wanted = stated if not stated.is_zero else state.share
    if kind is not None:
        wanted = wanted.at_most(kind.per_task.amount)
    grant = wanted.at_most(left if task.attempt == 0 else half(left))
    if grant.actions < 1 or (task.attempt == 0 and grant != wanted):
        return fail(state, task, "over_budget", f"needs {wanted.budget}, but the goal has left {left.budget}")
    try:
        resolved = resolve(spec.input, lambda parts: _look_up(state, task, parts))
    except BadReference as error:
        return fail(state, task, "bad_reference", str(error))
    size = len(canonical(resolved))
    if size > MAX_INPUT_BYTES:
        return fail(state, task, "input_too_large", f"{size} bytes; at most {MAX_INPUT_BYTES}: hand it over as files")
    task.attempt += 1
    task.grant = grant
    payload = Task(
        task_id=task.id,
        attempt=task.attempt,
        skill=spec.skill,
        input=resolved,
        files=_files_for(state, spec, release=task is state.release),
        depends_on=[
            instance.result_id
            for name in spec.after
            for instance in state.nodes[name].instances[:16]
            if instance.result_id
        ],
        now=timestamp(at_ms),
        seed=state.intake.seed,
        seal=task is state.release,
    )
    draft = Draft(
        to="executor",
        intent="act",
        payload=payload,
        # What was withheld was decided under the other name.
        step=f"task:{task.id}:{task.attempt}" + (":asked" if task.demanded else ""),
        budget=grant,
        confidence=spec.confidence,
    )
    send = Send(mandate, draft, state.granted)
    state.granted = state.granted + grant
    if needs_approval(state, task):
        return ask_task(state, task, send, at_ms)
    return [launched(state, task, send, at_ms)]


def withheld(state: GoalState, event: Withheld, spec: TaskSpec, task: TaskState) -> list[Send]:
    """The start of a task that policies did not let go out: it never began, and what it was granted is free again."""
    del state.running[task.id]
    state.granted = state.granted - task.grant
    if not event.needs_approval:
        return fail(state, task, "policy_denied", event.detail)
    task.attempt -= 1
    task.demanded = event.detail
    return start(state, task, spec, event.at_ms)


def fail(state: GoalState, task: TaskState, code: str, detail: str) -> list[Send]:
    """The task will not be started (any more)."""
    task.status = "failed"
    task.detail = f"{code}: {detail}"
    state.running.pop(task.id, None)
    state.failed.append(task)
    state.grounds.append(Ground(code=code, message=f"task {task.id}: {detail}"[:2000]))
    return []


def _expand(state: GoalState, node: Node) -> bool:
    """Makes the node's instances. False if it cannot, and then a task stands as failed for it."""
    spec = node.spec
    items: list[Any] = [None]
    if spec.each:
        probe = TaskState(id=spec.id, node=spec.id)
        try:
            items = resolve(spec.each, lambda parts: _look_up(state, probe, parts))
            if not isinstance(items, list):
                raise BadReference(f"{spec.each} is no list")
            if len(items) > MAX_FAN_OUT:
                raise BadReference(f"{spec.each} has {len(items)} items; at most {MAX_FAN_OUT}")
        except BadReference as error:
            node.instances, node.open = [probe], 1
            state.tasks[probe.id] = probe
            fail(state, probe, "bad_reference", str(error))
            return False
    for index, item in enumerate(items):
        name = f"{spec.id}.{index}" if spec.each else spec.id
        task = TaskState(id=name, node=spec.id, index=index, item=item)
        node.instances.append(task)
        state.tasks[name] = task
    node.open = len(node.instances)
    return True


def _look_up(state: GoalState, task: TaskState, parts: list[str]) -> Any:
    whole = ".".join(parts)
    root, rest = parts[0], parts[1:]
    if root == "tasks" and rest:
        return dig(_outputs_of(state, rest[0], whole), rest[1:], whole)
    values: dict[str, Any] = {}
    if root == "goal":
        values["goal"] = _plain(state.intake)
    elif root == "inputs":
        values["inputs"] = state.intake.inputs
    elif root == "item":
        values["item"] = task.item
    elif root == "index":
        values["index"] = task.index
    elif root == "plan":
        values["plan"] = [_plain(line) for line in plan_run(state)]
    elif root == "gates":
        values["gates"] = [_plain(outcome) for outcome in state.gates]
    elif root == "attestations":
        values["attestations"] = [_plain(attestation) for attestation in state.attestations]
    return dig(values, parts, whole)


def plan_run(state: GoalState) -> list[TaskSummary]:
    """The plan as it was actually run, one summary per instance, in the plan's order; a node not yet expanded is one
    waiting line.
    """
    return [
        summary(task, node.spec)
        for node in state.nodes.values()
        for task in (node.instances if node.open >= 0 else [TaskState(id=node.spec.id, node=node.spec.id)])
    ]


def _outputs_of(state: GoalState, name: str, whole: str) -> Any:
    node = state.nodes.get(name)
    if node is None or not node.done:
        raise BadReference(f"${{{whole}}}: task `{name}` is not done")
    results = [task.result for task in node.instances if task.result is not None]
    outputs = [result.output for result in results]
    findings = [_plain(finding) for result in results for finding in result.findings]
    single = outputs[0] if outputs and not node.spec.each else {}
    return {"output": single, "outputs": outputs, "findings": findings}


def _files_for(state: GoalState, spec: TaskSpec, *, release: bool) -> list[ArtefactRef]:
    """Files by name, the last one of a name winning; the release task gets everything there is."""
    names = list(state.nodes) if release else spec.files
    files = {file.name: file for name in names for file in state.files_of(name)}
    if release:
        for part in (state.audit, state.pack):
            files |= {file.name: file for file in (part.files if part is not None else [])}
    return list(files.values())


def _plain(value: object) -> Any:
    return msgspec.to_builtins(value)
