"""An executor with everything on, but for what it executes: all gates with trust, contract and a halt in force, all
policies, rate, breaker, and budget by a lease of the ledger. What is measured as a governed hop ends here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from interlock.bus.actor import Actor, ActorSettings
from interlock.bus.breaker import Breakers, BreakerSettings
from interlock.bus.control.giving import give_order
from interlock.bus.control.holder import ControlHolder, ControlSettings
from interlock.bus.gates import Receiver, receiving_gates
from interlock.bus.hop import Handler
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.layers import breaker_layer, rate_layer
from interlock.bus.ledger.client import Lease, goal_scope, open_goal
from interlock.bus.ledger.stage import Charge, lease_layer
from interlock.bus.ledger.writer import LedgerWriter
from interlock.bus.middleware import Profile, gate_stage, gates_stage, onion
from interlock.bus.policy.service import policy_service
from interlock.bus.policy.stage import HopFactsSource, policy_layer
from interlock.bus.rates import Buckets, RateLimit
from interlock.bus.sender import Identity
from interlock.bus.streams import inbox_of
from interlock.bus.tasks import background
from interlock.bus.telemetry.watching import HopWatch
from interlock.envelope.amounts import Amount, clock_ms
from interlock.envelope.own_seals import OwnSeals
from interlock.envelope.replay import ReplayMemory
from interlock.envelope.verification import Limits
from scripts.bench.mandates import KEYS, POLICIES, Source, described

# A halt is in force, of what the bench does not do: the gate has something to look through.
OTHERS = "skill:something-else"


@asynccontextmanager
async def executing(
    transport: JetStreamTransport,
    goal_id: str,
    count: int,
    handler: Handler,
    *,
    profile: Profile | None = None,
    watch: HopWatch | None = None,
    own: OwnSeals | None = None,
) -> AsyncIterator[None]:
    """Handles the hops of one goal while the context lasts. count: how many there will be. profile: takes the time of
    each stage, one hop at a time, for what a hop waits for must not be charged with the work of others.
    """
    writer = LedgerWriter(transport, "default", Amount(10**12, 10**12, 10**12, 10**12))
    source = Source()
    # The lease is long, so that a machine that does other things as well is not taken for a broker that is away.
    control = ControlHolder("default", source, ControlSettings(lease_ms=60_000))
    await give_order(transport, "default", Identity("orchestrator", KEYS["orchestrator"]), "halt", OTHERS, "a bench")
    await control.poll(transport)
    receiver = Receiver("executor", source, Limits(), ReplayMemory(), source, control, own=own)
    service = policy_service(POLICIES)
    async with writer.running(), background() as following:
        following.start_soon(control.follow, transport)
        budget = Amount(10**6, 10**9, 10**9, 10**9)
        await open_goal(writer, goal_id, budget, now_ms=clock_ms(), expires_ms=clock_ms() + 10**6)
        slice_size = Amount(actions=count * 16)
        async with Lease.taken(transport, writer, goal_scope(goal_id), "lease", slice_size) as lease:
            if not isinstance(lease, Lease):
                raise SystemExit(f"no lease: {lease}")
            rate = RateLimit(per_minute=10**8, burst=10**6)
            gates = receiving_gates(receiver)
            stages = [gates_stage(gates)] if profile is None else [gate_stage(name, gate) for name, gate in gates]
            stages += [
                ("policy", policy_layer(service, HopFactsSource("executor", receiver.trust, described))),
                ("rate", rate_layer(Buckets(rate), Buckets(rate))),
                ("breaker", breaker_layer(Breakers(BreakerSettings()), lambda _hop: "executor:noop")),
                ("ledger", lease_layer(lease, Charge(lambda _hop: Amount(actions=1)))),
            ]
            actor = Actor(
                transport,
                workspace="default",
                role="executor",
                consumer=inbox_of("default", "executor"),
                handler=onion(stages if profile is None else profile.watched(stages), handler),
                settings=ActorSettings(concurrency=64 if profile is None else 1),
                control=control,
                watch=watch,
            )
            async with actor.running():
                service.worker.start()
                yield
