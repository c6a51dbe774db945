"""The breaker layer: a skill that fails rests; a broker that is away is not the skill's fault."""

from __future__ import annotations

import pytest

from interlock.bus.breaker import Breakers, BreakerSettings
from interlock.bus.errors import Unavailable
from interlock.bus.hop import DONE, Hop, Outcome
from interlock.bus.layers import breaker_layer
from interlock.bus.transport import Message
from interlock.envelope.verdict import Reason

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("error", "rests"), [(Unavailable("no broker"), False), (ValueError("the skill"), True)])
async def test_only_what_is_the_skills_own_opens_the_circuit(error: Exception, rests: bool) -> None:
    failing = True

    async def handler(hop: Hop) -> Outcome:
        if failing:
            raise error
        return DONE

    layer = breaker_layer(Breakers(BreakerSettings()), lambda hop: "executor:skill")(handler)
    for _ in range(50):
        try:
            if (await layer(Hop(Message("s", b""), 1))).reason is Reason.CIRCUIT_OPEN:
                break
        except (Unavailable, ValueError):
            continue
    failing = False
    assert ((await layer(Hop(Message("s", b""), 1))).reason is Reason.CIRCUIT_OPEN) == rests
