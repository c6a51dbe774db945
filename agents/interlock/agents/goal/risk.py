"""The risk tier of a goal, from the intake's answers and its data (GOV-12). Rules are data: config/risk.yaml.

The highest tier any rule gives is the goal's. Unknown hints are told, never ignored; no answers at all is not "minimal"
for goals that handle restricted data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from interlock.envelope.payloads import Intake, RiskAssessment, RiskTier

TIERS: tuple[RiskTier, ...] = ("minimal", "limited", "high", "systemic")


class RiskRule(Struct, frozen=True, forbid_unknown_fields=True):
    """Applies when the intake's `risk_hints` answer `hint` with `answer` (default true), or the classification is one
    of `data`.
    """

    id: str
    tier: RiskTier
    reason: str
    hint: str = ""
    answer: Any = True
    data: list[str] = field(default_factory=list)
    obligations: list[str] = field(default_factory=list)


class RiskRules(Struct, frozen=True, forbid_unknown_fields=True):
    oversight: dict[RiskTier, str]
    rules: list[RiskRule]


def load_rules(path: Path) -> RiskRules:
    """Raises ValueError for a bad file."""
    from interlock.bus.yaml12 import load_yaml

    rules = msgspec.convert(load_yaml(path.read_bytes(), source=str(path)).value, RiskRules)
    if set(rules.oversight) != set(TIERS):
        raise ValueError(f"{path}: oversight must be stated for {', '.join(TIERS)}")
    return rules


def assess(intake: Intake, rules: RiskRules) -> RiskAssessment:
    """Pure. reasons name every rule that applied."""
    applied = [rule for rule in rules.rules if _applies(rule, intake)]
    tier = TIERS[max((TIERS.index(rule.tier) for rule in applied), default=0)]
    return RiskAssessment(
        tier=tier,
        reasons=[f"{rule.id}: {rule.reason}" for rule in applied] or ["no rule of a higher tier applies"],
        oversight=rules.oversight[tier],
        obligations=list(dict.fromkeys(duty for rule in applied for duty in rule.obligations)),
    )


def _applies(rule: RiskRule, intake: Intake) -> bool:
    if rule.data and intake.data_classification in rule.data:
        return True
    if not rule.hint or rule.hint not in intake.risk_hints:
        return False
    return bool(intake.risk_hints[rule.hint] == rule.answer)
