"""A call of a model as a span, by OpenTelemetry's conventions for generative AI."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, field

from interlock.agents.planning.model_settings import ModelPlanner
from interlock.bus.telemetry.spans import Value


class _Usage(Struct, frozen=True):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Choice(Struct, frozen=True):
    finish_reason: str | None = None


class _Answer(Struct, frozen=True):
    """What a chat completion says of itself."""

    id: str = ""
    model: str = ""
    usage: _Usage | None = None
    choices: list[_Choice] = field(default_factory=list)


def call_attributes(planner: ModelPlanner) -> dict[str, Value]:
    """What is asked of whom. The prompt is nobody's business."""
    server = urlsplit(planner.url)
    told: dict[str, Value] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",  # whose protocol it speaks
        "gen_ai.request.model": planner.model,
        "gen_ai.request.max_tokens": planner.max_tokens,
        "gen_ai.request.temperature": 0.0,
        "server.address": server.hostname or "",
    }
    return told | ({"server.port": server.port} if server.port else {})


def answer_attributes(answer: bytes) -> dict[str, Value]:
    """What the answer says of itself; nothing of one that cannot be read."""
    try:
        said = msgspec.json.decode(answer, type=_Answer)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}
    told: dict[str, Value] = {}
    if said.id:
        told["gen_ai.response.id"] = said.id[:128]
    if said.model:
        told["gen_ai.response.model"] = said.model[:128]
    if said.usage is not None:
        told["gen_ai.usage.input_tokens"] = said.usage.prompt_tokens
        told["gen_ai.usage.output_tokens"] = said.usage.completion_tokens
    if said.choices and said.choices[0].finish_reason:
        told["gen_ai.response.finish_reasons"] = said.choices[0].finish_reason[:40]
    return told
