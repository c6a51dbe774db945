"""Limits on a kind of work: so much a task, so much a day, for the skills that do it (GOV-05). Pure.

A kind is a name for some skills. What is not limited is left out; a day is a day in UTC.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType, field

from interlock.envelope.amounts import MAX_INT, Amount, Count, Decimal6, micro_usd

KindName = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?(?!\n)$")]
SkillPattern = Annotated[str, Meta(pattern=r"^([a-z0-9][a-z0-9-]{0,62}\*?|\*)(?!\n)$")]


class KindLimit(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """At most so much. What is left out is not limited."""

    thinking_tokens: Count | UnsetType = field(name="thinkingTokens", default=UNSET)
    cost_usd: Decimal6 | UnsetType = field(name="costUSD", default=UNSET)
    wall_ms: Count | UnsetType = field(name="wallMs", default=UNSET)
    actions: Count | UnsetType = UNSET

    @property
    def amount(self) -> Amount:
        """What is not limited stands as MAX_INT."""
        tokens, wall_ms, actions = (
            MAX_INT if value is UNSET else value for value in (self.thinking_tokens, self.wall_ms, self.actions)
        )
        return Amount(tokens, MAX_INT if self.cost_usd is UNSET else micro_usd(self.cost_usd), wall_ms, actions)

    @property
    def told(self) -> str:
        """For people: `at most 0.05 USD, 100 actions`."""
        parts = {"USD": self.cost_usd, "tokens": self.thinking_tokens, "ms": self.wall_ms, "actions": self.actions}
        limits = [f"{value} {unit}" for unit, value in parts.items() if value is not UNSET]
        return f"at most {', '.join(limits)}" if limits else "any amount"


class KindQuota(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """kind: what it is called. skills: names, or beginnings of names that end in `*`. perTask: of one run; perDay: of all of
    them together, where `actions` counts the runs.
    """

    kind: KindName
    skills: Annotated[list[SkillPattern], Meta(min_length=1, max_length=64)]
    per_task: KindLimit = KindLimit()
    per_day: KindLimit = KindLimit()


def kind_of(kinds: Iterable[KindQuota], skill: str) -> KindQuota | None:
    """The kind of work that a skill does."""
    return next((one for one in kinds if any(_covers(pattern, skill) for pattern in one.skills)), None)


def kinds_problem(kinds: Sequence[KindQuota]) -> str:
    """Empty, or what is wrong: a skill that would be of two kinds could be counted by the wider one."""
    names = [one.kind for one in kinds]
    if names != sorted(set(names)):
        return "kinds are sorted by name, each once"
    for one, other in itertools.combinations(kinds, 2):
        both = [f"{a} and {b}" for a in one.skills for b in other.skills if _overlap(a, b)]
        if both:
            return f"the kinds {one.kind} and {other.kind} overlap: {both[0]}"
    return ""


def _covers(pattern: str, name: str) -> bool:
    return name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1]))


def _overlap(one: str, other: str) -> bool:
    return _covers(one, other.rstrip("*")) or _covers(other, one.rstrip("*"))
