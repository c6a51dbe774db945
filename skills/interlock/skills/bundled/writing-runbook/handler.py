"""Runbook of what a repository runs."""

from __future__ import annotations

from typing import Any

from interlock.bus.yaml12 import load_yaml
from interlock.skills.release.documents import code, grid, markdown
from interlock.skills.release.documents import told as prose
from interlock.skills.release.workloads import Workload, workloads
from interlock.skills.repository.findings import SEVERITIES, told
from interlock.skills.repository.given import context_of
from interlock.skills.repository.model import Context
from interlock.skills.sdk import Task

MAX_WORKLOADS = 10
MAX_MEND = 60


def run(task: Task) -> dict[str, Any]:
    context = context_of(task)
    goal, risk = task.input["goal"], task.input.get("risk") or {}
    found = workloads(context, MAX_WORKLOADS)
    to_mend = _to_mend(task.input.get("findings", []))
    sections = {
        "What runs": _what_runs(found, context),
        "Build and test": _commands(context),
        "Start": [line for workload in found for line in _start(workload)],
        "Check": [line for workload in found for line in _check(workload)],
        "Roll back": [line for workload in found for line in _roll_back(workload)],
        "Alerts": _alerts(task, found),
        "When a model misbehaves": _model_incidents(context, found),
        "To mend": _mend(to_mend),
        "Duties that are open": [f"- {prose(entry)}" for entry in risk.get("openQuestions", [])],
        "Who to call": _people(goal),
    }
    lines = [f"# Runbook of {code(context.name)}", "", *_identity(context)]
    for title, body in sections.items():
        lines += [f"## {title}", "", *body, ""] if body else []
    (task.out / "runbook.md").write_text(markdown(lines), encoding="utf-8")
    return {
        "sections": [title for title, body in sections.items() if body],
        "toMend": len(to_mend),
        **told([]),
    }


def _identity(context: Context) -> list[str]:
    commit = f", commit {code(context.commit)}" if context.commit else ""
    return [f"Release {code(context.version or context.digest[:12])}{commit}.", ""]


def _what_runs(found: list[Workload], context: Context) -> list[str]:
    rows = [
        (
            code(w.name),
            w.kind,
            code(w.image),
            w.port or "—",
            code(" ".join(w.command) or "of the image"),
            code(w.told_by),
        )
        for w in found
    ]
    if rows:
        return grid(("Name", "Kind", "Image", "Port", "Command", "Told by"), rows)
    return [f"{code(context.name)} holds no entry point: it is a library, which is published and not run."]


def _commands(context: Context) -> list[str]:
    named = [f"- {name}: {code(' '.join(command))}" for name, command in context.commands.items()]
    files = context.infrastructure.get("container", [])
    return named + [f"- image: {code(f'docker build --file {path} .')}" for path in files[:5]]


def _start(workload: Workload) -> list[str]:
    name = workload.name
    if workload.kind == "job":
        return [
            f"- {code(name)}: {code('kubectl apply --filename deployment_manifest.yaml')}, then "
            f"{code(_unsuspend(name))}"
        ]
    return [
        f"- {code(name)}: {code('kubectl apply --filename deployment_manifest.yaml')}, then "
        f"{code(f'kubectl rollout status deployment/{name} --timeout=120s')}"
    ]


def _unsuspend(name: str) -> str:
    return f"""kubectl patch job {name} --patch '{{"spec":{{"suspend":false}}}}'"""


def _check(workload: Workload) -> list[str]:
    name = workload.name
    kind = "job" if workload.kind == "job" else "deployment"
    lines = [f"- {code(f'kubectl get {kind} {name}')}; logs: {code(f'kubectl logs {kind}/{name} --tail=100')}"]
    if workload.port:
        lines.append(f"- {code(name)} answers: {code(f'kubectl port-forward service/{name} {workload.port}')}")
    return lines


def _roll_back(workload: Workload) -> list[str]:
    if workload.kind == "job":
        return [
            f"- {code(workload.name)}: {code(f'kubectl delete job {workload.name}')}; apply the manifest of the release before"
        ]
    return [
        f"- {code(workload.name)}: {code(f'kubectl rollout undo deployment/{workload.name}')}, then "
        f"{code(f'kubectl rollout status deployment/{workload.name} --timeout=120s')}"
    ]


def _alerts(task: Task, found: list[Workload]) -> list[str]:
    """What to do at each alert of the monitoring configuration."""
    given = task.files.get("monitoring_config.yaml")
    if given is None:
        return []
    document = load_yaml(given.read_bytes(), source=given.name).value
    rules = [rule for group in document.get("prometheus", {}).get("groups", []) for rule in group["rules"]]
    lines: list[str] = []
    for rule in rules:
        workload = max((w for w in found if rule["alert"].startswith(w.name)), key=lambda w: len(w.name), default=None)
        if workload is not None:
            lines += [
                f"### {rule['alert']}",
                "",
                f"{prose(rule['annotations']['summary'])} ({rule['labels']['severity']}, after {rule['for']}).",
                "",
                *(f"{number}. {step}" for number, step in enumerate(_steps(rule["alert"], workload), 1)),
                "",
            ]
    return lines


def _steps(alert: str, workload: Workload) -> list[str]:
    kind = "job" if workload.kind == "job" else "deployment"
    logs = f"Read the last lines: {code(f'kubectl logs {kind}/{workload.name} --tail=200')}"
    events = f"Look at what happened to it: {code(f'kubectl describe {kind} {workload.name}')}"
    undo = f"If it began with the last rollout, undo that: {code(f'kubectl rollout undo deployment/{workload.name}')}"
    more = f"If the load is higher than usual: {code(f'kubectl scale deployment/{workload.name} --replicas=4')}"
    if alert.endswith("-slow"):
        return [more, logs, undo]
    if alert.endswith("-tokens"):
        return [f"Stop the spending: {code(f'kubectl scale deployment/{workload.name} --replicas=0')}", logs, undo]
    if alert.endswith("-job-failed"):
        return [logs, events, f"Run it again: {code(f'kubectl delete job {workload.name}')} and apply the manifest"]
    return [events, logs, undo]


def _model_incidents(context: Context, found: list[Workload]) -> list[str]:
    """Detect, respond, investigate, remediate: only where the sources use a model."""
    uses = [use for use in context.uses if use.kind in ("generative", "agent", "learning", "model")]
    if not uses:
        return []
    where = ", ".join(code(f"{use.file}:{use.line}") for use in uses[:5] if use.line)
    models = ", ".join(code(use.name) for use in uses if use.kind == "model")
    stop = "; ".join(code(f"kubectl scale deployment/{w.name} --replicas=0") for w in found if w.kind != "job")
    lines = [f"Models are called at {where}." if where else "Models are used through libraries."]
    if models:
        lines[0] += f" Named models: {models}. Pinning the version before is the first mend."
    lines += [""]
    lines += [f"1. Respond: stop answers from going out: {stop}."] if stop else []
    lines += [
        f"{len(lines) - 1}. Investigate: keep inputs, outputs and model version of the incident; compare with the model card.",
        f"{len(lines)}. Remediate: go back to the model version of the last release, then release again through all gates.",
    ]
    return lines


def _to_mend(lists: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    every = [entry for entries in lists for entry in entries if entry["severity"] != "info"]
    return sorted(every, key=lambda entry: (not entry.get("blocks"), SEVERITIES.index(entry["severity"]), entry["id"]))


def _mend(findings: list[dict[str, Any]]) -> list[str]:
    rows = []
    for entry in findings[:MAX_MEND]:
        place = entry.get("file", "") + (f":{entry['line']}" if entry.get("line") else "")
        rows.append((entry["severity"], "yes" if entry.get("blocks") else "no", prose(entry["message"]), code(place)))
    return grid(("Severity", "Blocks", "What", "Where"), rows)


def _people(goal: dict[str, Any]) -> list[str]:
    return [
        f"- {prose(entry.get('name', ''))}" + (f": {prose(entry['role'])}" if entry.get("role") else "")
        for entry in goal.get("stakeholders", [])
    ]
