"""`kinds` of interlock.yaml: what work of a kind may cost, for contracts that the system makes itself (GOV-05)."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from interlock.envelope.amounts import Count, Decimal6
from interlock.envelope.kind_quota import KindLimit, KindName, KindQuota, SkillPattern


class KindBound(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """At most so much; what is left out is not limited."""

    cost_usd: Decimal6 | UnsetType = UNSET
    tokens: Count | UnsetType = UNSET
    wall_ms: Count | UnsetType = UNSET
    actions: Count | UnsetType = UNSET

    @property
    def limit(self) -> KindLimit:
        return KindLimit(
            thinking_tokens=self.tokens, cost_usd=self.cost_usd, wall_ms=self.wall_ms, actions=self.actions
        )


class KindSetting(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """kind: its name. skills: those that do it, by name or by the beginning of a name with `*`."""

    kind: KindName
    skills: Annotated[list[SkillPattern], Meta(min_length=1, max_length=64)]
    per_task: KindBound = KindBound()
    per_day: KindBound = KindBound()

    @property
    def quota(self) -> KindQuota:
        return KindQuota(kind=self.kind, skills=self.skills, per_task=self.per_task.limit, per_day=self.per_day.limit)


SUMMARIES = KindSetting(
    kind="summaries",
    skills=["summarising-*", "summarizing-*", "summary-*"],
    per_task=KindBound(cost_usd="0.05"),
    per_day=KindBound(actions=100),
)
