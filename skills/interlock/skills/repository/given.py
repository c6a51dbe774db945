"""How a skill comes by the context of a source tree: `context.json` of an earlier task, or the tree itself."""

from __future__ import annotations

from pathlib import Path

import msgspec

from interlock.skills.repository.context import load_catalogue, survey
from interlock.skills.repository.licences import load_licence_rules
from interlock.skills.repository.model import Context
from interlock.skills.sdk import SkillError, Task

CONTEXT_FILE = "context.json"


def context_of(task: Task) -> Context:
    """Raises SkillError if there is neither, or the directory cannot be listed."""
    given = task.files.get(CONTEXT_FILE)
    if given is not None:
        try:
            return msgspec.json.decode(given.read_bytes(), type=Context)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SkillError(f"{CONTEXT_FILE} is not what mapping-context writes: {error}") from error
    path = task.input.get("path")
    if not isinstance(path, str):
        raise SkillError(f"hand in {CONTEXT_FILE} of mapping-context, or `path`, the directory to read")
    return survey_of(task, Path(path))


def survey_of(task: Task, root: Path) -> Context:
    """Reads the tree. Raises SkillError if it cannot be listed."""
    try:
        return survey(root, rules=load_licence_rules(task.config), catalogue=load_catalogue(task.config))
    except OSError as error:
        raise SkillError(f"the directory cannot be listed: {error.strerror}; check `path` and its rights") from error
