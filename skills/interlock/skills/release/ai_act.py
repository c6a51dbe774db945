"""The EU AI Act over an intake's answers and what the sources show (GOV-12). Data: config/risk.yaml, config/ai-act.yaml.

The tier from the answers follows the same rules as the evaluator's; what the sources show can only raise it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from interlock.skills.repository.model import Context, Use

Tier = Literal["minimal", "limited", "high", "systemic"]
TIERS: tuple[Tier, ...] = ("minimal", "limited", "high", "systemic")
Status = Literal["met", "not_met", "open"]


class Duty(Struct, frozen=True, forbid_unknown_fields=True):
    """Applies in `tiers` when all of `when` are answered with true. never: nothing can meet it."""

    id: str
    article: str
    tiers: list[Tier]
    text: str
    mitigation: str
    when: list[str] = field(default_factory=list)
    answer: str = ""
    required: bool = False
    never: bool = False


class Assumed(Struct, frozen=True, forbid_unknown_fields=True):
    tier: Tier
    hint: str
    why: str


class Act(Struct, frozen=True, forbid_unknown_fields=True):
    """config/ai-act.yaml."""

    duties: list[Duty]
    assumed: dict[str, Assumed]
    bias: dict[str, list[str]]
    providers: dict[str, str]


class TierRule(Struct, frozen=True):
    """A rule of config/risk.yaml."""

    id: str
    tier: Tier
    reason: str
    hint: str = ""
    answer: Any = True
    data: list[str] = field(default_factory=list)
    obligations: list[str] = field(default_factory=list)


class TierRules(Struct, frozen=True):
    oversight: dict[Tier, str]
    rules: list[TierRule]


class Judged(Struct, frozen=True):
    """One duty that applies, and how it stands."""

    duty: Duty
    status: Status

    @property
    def blocks(self) -> bool:
        return self.status == "not_met" or (self.status == "open" and self.duty.required)


class Assessment(Struct, frozen=True):
    """tier: the higher of what the answers and the sources give. assumptions: why the sources raised it."""

    tier: Tier
    from_answers: Tier
    applied: list[TierRule]
    assumptions: list[str]
    duties: list[Judged]
    oversight: str
    bias: str
    bias_reasons: list[str]
    uses: list[Use]
    is_ai: Literal["yes", "no", "unclear"]


def load_act(config: Path) -> tuple[TierRules, Act]:
    """Reads risk.yaml and ai-act.yaml of a configuration directory. Raises ValueError."""
    from interlock.bus.yaml12 import load_yaml

    rules, act = config / "risk.yaml", config / "ai-act.yaml"
    return (
        msgspec.convert(load_yaml(rules.read_bytes(), source=rules.name).value, TierRules),
        msgspec.convert(load_yaml(act.read_bytes(), source=act.name).value, Act),
    )


def assess(hints: dict[str, Any], classification: str, context: Context, rules: TierRules, act: Act) -> Assessment:
    """Pure. hints: the intake's `risk_hints`; classification: of its data."""
    applied = [rule for rule in rules.rules if _applies(rule, hints, classification)]
    stated = _highest([rule.tier for rule in applied])
    uses = [use for use in context.uses if use.kind != "framework"]
    assumed = [
        entry
        for kind, entry in act.assumed.items()
        if entry.hint not in hints and any(use.kind == kind for use in uses)
    ]
    tier = _highest([stated, *(entry.tier for entry in assumed)])
    raised = {**hints, **{entry.hint: True for entry in assumed}}
    duties = [
        Judged(duty, _status(duty, hints))
        for duty in act.duties
        if tier in duty.tiers and all(raised.get(name) is True for name in duty.when)
    ]
    level, reasons = _bias(hints, act)
    return Assessment(
        tier=tier,
        from_answers=stated,
        applied=applied,
        assumptions=[f"{entry.why}, and the intake does not answer `{entry.hint}`" for entry in assumed],
        duties=duties,
        oversight=rules.oversight[tier],
        bias=level,
        bias_reasons=reasons,
        uses=uses,
        is_ai=_is_ai(hints, uses),
    )


def provider_of(model: str, act: Act) -> str:
    """Who makes a model; empty if its name does not tell."""
    return next((name for prefix, name in act.providers.items() if model.lower().startswith(prefix)), "")


def _applies(rule: TierRule, hints: dict[str, Any], classification: str) -> bool:
    if rule.data and classification in rule.data:
        return True
    return bool(rule.hint) and rule.hint in hints and bool(hints[rule.hint] == rule.answer)


def _highest(tiers: list[Tier]) -> Tier:
    return TIERS[max((TIERS.index(tier) for tier in tiers), default=0)]


def _status(duty: Duty, hints: dict[str, Any]) -> Status:
    if duty.never:
        return "not_met"
    answer = hints.get(duty.answer) if duty.answer else None
    return "met" if answer is True else "not_met" if answer is False else "open"


def _bias(hints: dict[str, Any], act: Act) -> tuple[str, list[str]]:
    for level in ("high", "moderate"):
        reasons = [name for name in act.bias.get(level, []) if hints.get(name) is True]
        if reasons:
            return level, reasons
    return "low", []


def _is_ai(hints: dict[str, Any], uses: list[Use]) -> Literal["yes", "no", "unclear"]:
    stated = hints.get("uses_ai")
    if uses or stated is True:
        return "yes"
    return "no" if stated is False else "unclear"
