"""Finding skills: the bundled ones and those of the directories a workspace names (SKL-02, read side)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from interlock.skills.errors import SkillsError
from interlock.skills.manifest import Skill, load_skill

BUNDLED = Path(__file__).parent / "bundled"
# Words that every description has and that say nothing about it.
_EMPTY = {"the", "and", "for", "are", "its", "that", "this", "what", "with", "from", "which", "each"}
_EMPTY |= {"into", "out", "all", "not", "one", "has", "have"}
_WORD = re.compile(r"[a-z0-9]{3,}")


class Registry:
    """Skills by name. Broken or duplicate skills are an error of whoever set the workspace up, told at start."""

    def __init__(self, skills: Sequence[Skill]) -> None:
        self._skills: dict[str, Skill] = {}
        for skill in skills:
            other = self._skills.get(skill.name)
            if other is not None:
                detail = f"skill `{skill.name}` is in {other.directory} and in {skill.directory}"
                raise SkillsError("duplicate_skill", detail, "Rename one of them")
            self._skills[skill.name] = skill

    @classmethod
    def load(cls, directories: Sequence[Path], *, bundled: bool = True) -> Registry:
        """Loads every folder with a SKILL.md in these directories. Raises SkillsError."""
        places = [*([BUNDLED] if bundled else []), *directories]
        found = [sorted(place.glob("*/SKILL.md")) for place in dict.fromkeys(places) if place.is_dir()]
        folders = [path.parent for paths in found for path in paths]
        return cls([load_skill(folder) for folder in folders])

    def find(self, name: str, version: str = "") -> Skill | None:
        """The skill of this name, if it has this version or none is asked for."""
        skill = self._skills.get(name)
        return skill if skill is None or version in ("", skill.manifest.version) else None

    def names(self) -> list[str]:
        return sorted(self._skills)

    def capabilities(self) -> dict[str, str]:
        """Capability by skill name."""
        return {name: skill.manifest.capability for name, skill in self._skills.items()}

    def approvals(self) -> frozenset[str]:
        """Names of the skills whose every run needs a human's approval."""
        return frozenset(name for name, skill in self._skills.items() if skill.manifest.approval == "required")

    def match(self, text: str) -> list[tuple[int, Skill]]:
        """Skills whose description shares words with the text, best first, with a score in parts per thousand: the
        share of the text's informative words that the description has, rare words counting more (inverse document
        frequency). Deterministic.
        """
        documents = {name: words_of(f"{name} {skill.manifest.description}") for name, skill in self._skills.items()}
        wanted = words_of(text)
        weights = {word: _weight(word, list(documents.values())) for word in wanted}
        whole = sum(weights.values())
        scored = [
            (int(1000 * sum(weights[word] for word in wanted & document) / whole), self._skills[name])
            for name, document in documents.items()
            if whole and wanted & document
        ]
        return sorted(scored, key=lambda entry: (-entry[0], entry[1].name))


def words_of(text: str) -> set[str]:
    """Lower-case stems of words of three letters and more that mean something."""
    return {stem(word) for word in _WORD.findall(text.lower()) if word not in _EMPTY}


def stem(word: str) -> str:
    """Without the commonest endings, doubled letters single: scanning, scans, scan are one."""
    for ending in ("ing", "es", "s", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


def _weight(word: str, documents: list[set[str]]) -> float:
    having = sum(word in document for document in documents)
    return math.log((1 + len(documents)) / (1 + having)) + 0.1
