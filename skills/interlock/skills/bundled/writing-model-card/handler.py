"""Model card of the system in a source tree."""

from __future__ import annotations

from typing import Any

from interlock.skills.release.ai_act import Act, load_act, provider_of
from interlock.skills.release.documents import yaml_text
from interlock.skills.repository.findings import Finding, told
from interlock.skills.repository.given import context_of
from interlock.skills.repository.model import Context, Use
from interlock.skills.repository.names import one_line
from interlock.skills.sdk import Task


def run(task: Task) -> dict[str, Any]:
    context = context_of(task)
    goal, risk = task.input["goal"], task.input.get("risk") or {}
    _, act = load_act(task.config)
    models = [use for use in context.uses if use.kind == "model"]
    libraries = [use for use in context.uses if use.kind not in ("model", "framework")]
    card = {
        "spec_version": "3.2",
        "system": _system(context),
        "intended_use": _intended(goal),
        "models": [_model(use, act) for use in models],
        "ai_libraries": [{"name": use.name, "kind": use.kind, "seen_in": _place(use)} for use in libraries],
        "data": {"classification": goal.get("data_classification", "internal")},
        "evaluation": {
            "success_metrics": [one_line(metric, 400) for metric in goal.get("success_metrics", [])],
            "test_files": context.tests,
            "test_commands": [" ".join(command) for name, command in context.commands.items() if "test" in name],
        },
        "limits": [one_line(entry, 400) for entry in goal.get("constraints", [])],
        "regulation": _regulation(risk),
    }
    if not models and not libraries:
        card["statement"] = "No AI library and no model name was found in the sources."
    (task.out / "model_card.yaml").write_text(yaml_text(card), encoding="utf-8")
    return {
        "models": [use.name for use in models][:50],
        "libraries": [use.name for use in libraries][:50],
        **told(_findings(models, libraries)),
    }


def _system(context: Context) -> dict[str, Any]:
    licences = sorted({package.licence for package in context.packages if package.licence})
    known = {
        "name": context.name,
        "version": context.version,
        "description": context.description,
        "content_sha256": context.digest,
        "commit": context.commit,
        "licence": " AND ".join(licences) if len(licences) > 1 else "".join(licences),
    }
    return {name: value for name, value in known.items() if value}


def _intended(goal: dict[str, Any]) -> dict[str, Any]:
    people = [
        {key: one_line(entry[key], 200) for key in ("name", "role") if entry.get(key)}
        for entry in goal.get("stakeholders", [])
    ]
    return {"goal": one_line(goal.get("goal", ""), 2000), "accountable": people}


def _model(use: Use, act: Act) -> dict[str, Any]:
    provider = provider_of(use.name, act)
    return {
        "name": use.name,
        **({"provider": provider} if provider else {}),
        "seen_in": _place(use),
        "files": use.files,
    }


def _place(use: Use) -> str:
    return f"{use.file}:{use.line}" if use.line else use.file


def _regulation(risk: dict[str, Any]) -> dict[str, Any]:
    if not risk:
        return {}
    return {
        "risk_tier": risk["tier"],
        "human_oversight": risk["oversight"],
        "bias_potential": risk["biasPotential"],
        "duties": [{"id": d["id"], "article": d["article"], "status": d["status"]} for d in risk["duties"]],
        "assumptions": risk["assumptions"],
        "open_questions": risk["openQuestions"],
    }


def _findings(models: list[Use], libraries: list[Use]) -> list[Finding]:
    if libraries and not models and any(use.kind in ("generative", "agent") for use in libraries):
        use = libraries[0]
        message = f"{use.name} is used, but no model is named in the sources; it is chosen by configuration elsewhere"
        return [Finding("model-not-named", "info", message, use.file, use.line)]
    return []
