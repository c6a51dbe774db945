"""What can be planned with: skills and playbooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from interlock.agents.planning.playbooks import Playbook, load_playbooks
from interlock.skills.manifest import Skill
from interlock.skills.registry import Registry


class Catalogue(Struct, frozen=True):
    registry: Registry
    playbooks: Mapping[str, Playbook]

    def has_skill(self, name: str) -> bool:
        return self.registry.find(name) is not None

    def match(self, text: str) -> list[tuple[int, Skill]]:
        """Skills by how well their description fits, with a score in parts per thousand."""
        return self.registry.match(text)


def load_catalogue(config: Path, skills: Sequence[Path], playbooks: Sequence[Path]) -> Catalogue:
    """Raises SkillsError or ValueError for a broken skill or playbook."""
    return Catalogue(Registry.load(skills), load_playbooks([config / "playbooks", *playbooks]))
