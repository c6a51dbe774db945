"""A plan drafted by a model, over the chat completions protocol that most model servers speak. Off unless configured.

The model only drafts: what it says is parsed strictly, given a confidence of at most its cap, and reviewed.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import anyio
import msgspec

from interlock.agents.planning.catalogue import Catalogue
from interlock.agents.planning.model_settings import ModelPlanner
from interlock.agents.telemetry.model_calls import answer_attributes, call_attributes
from interlock.bus.telemetry.spans import span
from interlock.envelope.payloads import Ground, Intake, PlanDraft, TaskSpec

MAX_ANSWER_BYTES = 256 * 1024


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A key must not follow a redirect to somewhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


async def draft_by_model(planner: ModelPlanner, intake: Intake, catalogue: Catalogue) -> PlanDraft | list[Ground]:
    """The draft, or why there is none; never raises for what the server does."""
    body = msgspec.json.encode(request_of(planner, intake, catalogue))
    try:
        with span(f"chat {planner.model}", call_attributes(planner), kind="client") as shown:
            with anyio.fail_after(planner.timeout_ms / 1000 + 1):
                answer = await anyio.to_thread.run_sync(_post, planner, body, abandon_on_cancel=True)
            for name, value in answer_attributes(answer).items():
                shown.set(name, value)
            tasks = tasks_of(answer)
    except (OSError, ValueError, TimeoutError, msgspec.MsgspecError) as error:
        return [Ground(code="model_failed", message=f"the model gave no plan: {error}"[:500])]
    return PlanDraft(
        source="model", playbook=planner.model, tasks=tasks, intake=intake, confidence=min(planner.confidence, 1000)
    )


def request_of(planner: ModelPlanner, intake: Intake, catalogue: Catalogue) -> dict[str, Any]:
    """The request: skills with their schemas as the system's words, the goal as the user's."""
    skills = [
        {"skill": name, "description": skill.manifest.description, "input": skill.manifest.input}
        for name in catalogue.registry.names()
        if (skill := catalogue.registry.find(name)) is not None
    ]
    system = (
        "Draft a plan as JSON: a list of tasks {id, skill, after, input}. Use only these skills: "
        + json.dumps(skills, sort_keys=True)
        + " Answer with the JSON list alone."
    )
    user = json.dumps({"goal": intake.goal, "constraints": intake.constraints, "inputs": intake.inputs}, sort_keys=True)
    return {
        "model": planner.model,
        "temperature": 0,
        "max_tokens": planner.max_tokens,
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
    }


def tasks_of(answer: bytes) -> list[TaskSpec]:
    """Strictly parsed. Raises ValueError or msgspec's errors."""
    try:
        content = msgspec.json.decode(answer)["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError("the answer is no chat completion") from error
    text = str(content).strip()
    if text.startswith("```"):
        text = text.strip("`").removeprefix("json").strip()
    tasks = msgspec.json.decode(text.encode(), type=list[TaskSpec])
    if not tasks:
        raise ValueError("the plan is empty")
    return tasks


def _post(planner: ModelPlanner, body: bytes) -> bytes:
    if not planner.url.startswith(("http://", "https://")):
        raise ValueError("the model's url must begin with http:// or https://")
    request = urllib.request.Request(planner.url, body, {"Content-Type": "application/json"})  # noqa: S310 - as above
    if planner.key_file:
        request.add_header("Authorization", "Bearer " + Path(planner.key_file).read_text().strip())
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=planner.timeout_ms / 1000) as response:
            data: bytes = response.read(MAX_ANSWER_BYTES + 1)
    except urllib.error.HTTPError as error:
        error.close()
        raise ValueError(f"the server answered {error.code}") from error
    if len(data) > MAX_ANSWER_BYTES:
        raise ValueError(f"the answer has more than {MAX_ANSWER_BYTES} bytes")
    return data
