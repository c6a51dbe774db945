"""Why something is decided: a code, a sentence for people, and the place in the blueprint that says so (FR-016)."""

from __future__ import annotations

from enum import StrEnum
from fractions import Fraction

from msgspec import Struct

WHOLE_PPM = 1_000_000


class Why(StrEnum):
    """Closed: a new reason is a new member and a row in docs/blueprints.md."""

    ABOVE_THRESHOLD = "above_threshold"
    BELOW_THRESHOLD = "below_threshold"
    BETWEEN_THRESHOLDS = "between_thresholds"
    ABOVE_TARGET = "above_target"
    BELOW_TARGET = "below_target"
    ON_TARGET = "on_target"
    TARGET_VIOLATED = "target_violated"
    NOT_SCALING_MATTER = "not_scaling_matter"
    METRIC_MISSING = "metric_missing"
    BELOW_MIN = "below_min"
    ABOVE_MAX = "above_max"
    AT_MAX = "at_max"
    AT_MIN = "at_min"
    WITHIN_LIMITS = "within_limits"
    STEP_LIMITED = "step_limited"
    COOLDOWN = "cooldown"
    STABILISING = "stabilising"
    WOULD_COME_BACK = "would_come_back"
    PODS_STARTING = "pods_starting"
    ROLLING_OUT = "rolling_out"
    OVER_BUDGET = "over_budget"
    COST_TARGET = "cost_target"
    PODS_FAILING = "pods_failing"
    BACKING_OFF = "backing_off"
    RESTARTS_USED_UP = "restarts_used_up"
    FAILURES_IN_A_ROW = "failures_in_a_row"
    NO_WAY_BACK = "no_way_back"
    OVER_PROVISIONED = "over_provisioned"
    UNDER_PROVISIONED = "under_provisioned"
    DIFFERS_FROM_BLUEPRINT = "differs_from_blueprint"
    BREAKER_OPEN = "breaker_open"
    TOO_MANY_ACTIONS = "too_many_actions"
    VERIFYING = "verifying"


class Reason(Struct, frozen=True, kw_only=True):
    """text names the figures; reference: `spec.scaling.max_replicas`."""

    code: Why
    text: str
    reference: str


def percent(share: Fraction) -> str:
    """`85 %`, `99.95 %`: at most two decimals, halves away from zero."""
    hundredths = rounded(share * 10_000)
    whole, rest = divmod(hundredths, 100)
    return f"{whole} %" if not rest else f"{whole}.{rest:02d}".rstrip("0") + " %"


def rounded(value: Fraction) -> int:
    """To the nearest integer, halves up."""
    return int((value * 2 + 1) // 2)


def to_ppm(share: Fraction) -> int:
    """A share as parts per million, to the nearest."""
    return rounded(share * WHOLE_PPM)


def of_ppm(ppm: int) -> Fraction:
    """Parts per million as an exact share."""
    return Fraction(ppm, WHOLE_PPM)


def seconds(ms: int) -> str:
    """`60 s`, `2.5 s`."""
    return f"{ms / 1000:g} s"
