"""Receivers whose clock is wrong or jumps: nothing expires early beyond the skew bound, nothing lives for ever. A table of
offsets, and of lives and ages within each; pure, with an injected clock.
"""

from __future__ import annotations

import random
from pathlib import Path

from msgspec.structs import replace

from interlock.envelope.amounts import timestamp
from interlock.envelope.children import Draft, root
from interlock.envelope.ids import new_id
from interlock.envelope.model import Envelope, PolicyContext
from interlock.envelope.payloads import Escalation
from interlock.envelope.replay import ReplayMemory
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import Limits, check_freshness, check_replay
from scripts.campaigns.result import Result

MUST_BE = "no early expiry beyond the skew bound, no immortal envelope, no replay let in"
NOW = 1_800_000_000_000
OFFSETS_MS = (-86_400_000, -3_600_000, -60_000, -5_001, -5_000, -1, 0, 1, 5_000, 5_001, 60_000, 3_600_000, 86_400_000)


def envelope(created_ms: int, ttl_ms: int, number: int) -> Envelope:
    draft = Draft(to="orchestrator", intent="escalate", payload=Escalation(code="x", question="?"), step="clock")
    made = root(
        draft,
        goal_id=new_id(NOW, number.to_bytes(10, "big")),
        workspace="default",
        trace_id="ab" * 16,
        sender="gateway",
        key_id="U" * 56,
        now_ms=created_ms,
        ttl_ms=ttl_ms,
        policy_context=PolicyContext(policy_bundle="", contract_ref="", capabilities=[]),
        compliance_tags=[],
    )
    return replace(made, created_at=timestamp(created_ms))


async def campaign(root_dir: Path, amount: int, seed: int) -> Result:
    """amount: rows. Each: an envelope of some life, seen at some true age by a clock that is off."""
    dice, limits = random.Random(seed), Limits()
    failures: list[str] = []
    counted: dict[str, float] = dict.fromkeys(("taken", "expired", "from_future", "ttl_too_long"), 0)
    for number in range(amount):
        offset = OFFSETS_MS[number % len(OFFSETS_MS)]
        ttl = dice.choice((1, 1_000, 30_000, 3_600_000, limits.max_ttl_ms + 1, 10**12))
        age = dice.choice((0, 1, ttl - 1, ttl, ttl + limits.skew_ms, ttl + limits.skew_ms + 1, 2 * ttl + 10**5))
        one = envelope(NOW, ttl, number)
        reason = check_freshness(one, NOW + age + offset, limits).reason
        counted[str(reason) if reason is not Reason.OK else "taken"] += 1
        row = f"ttl {ttl}, age {age}, clock off by {offset}: {reason}"
        if ttl > limits.max_ttl_ms:
            if reason is not Reason.TTL_TOO_LONG and reason is not Reason.FROM_FUTURE:
                failures.append(f"immortal: {row}")
        elif reason is Reason.OK and age + offset > ttl + limits.skew_ms:
            failures.append(f"too old by its own clock: {row}")
        elif reason is Reason.EXPIRED and age < ttl and offset <= limits.skew_ms:
            failures.append(f"early: {row}")
        elif reason is Reason.OK and age + offset < -limits.skew_ms:
            failures.append(f"from the future: {row}")
        if reason is Reason.OK:
            # Let in once at this place; at another it is a replay, also when the clock jumps back in between.
            memory = ReplayMemory()
            first = check_replay(one, memory, 1, NOW + age + offset, limits).reason
            jumped = check_replay(one, memory, 2, NOW + age + offset - dice.randrange(limits.skew_ms), limits).reason
            if (first, jumped) != (Reason.OK, Reason.REPLAYED):
                failures.append(f"replay after a jump: {row}: {first}, then {jumped}")
    return Result(campaign="clocks", amount=amount, must_be=MUST_BE, figures=counted, failures=failures[:20])
