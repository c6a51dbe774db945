"""Two governed agents in one process, with the bus as a library: `python two_agents.py [COUNT]`."""

import argparse
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import anyio

from interlock.bus.actor import Actor
from interlock.bus.gates import Receiver, receiving_gates
from interlock.bus.hop import DONE, Hop, Outcome
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.middleware import gates_stage, onion
from interlock.bus.sender import Identity, Sender
from interlock.bus.server.embedded import EmbeddedServer
from interlock.bus.streams import declarations, inbox_of
from interlock.envelope.amounts import Amount, clock_ms, timestamp
from interlock.envelope.children import Draft, Origin
from interlock.envelope.ids import new_id, trace_of
from interlock.envelope.keys import SigningKey
from interlock.envelope.model import PolicyContext
from interlock.envelope.own_seals import OwnSeals
from interlock.envelope.payloads import Task
from interlock.envelope.replay import ReplayMemory
from interlock.envelope.trust import AgentRecord, KeyRecord, Trust, TrustStore, load, sign_store
from interlock.envelope.verification import Limits

KEYS = {role: SigningKey.generate() for role in ("orchestrator", "executor")}
ROOT = SigningKey.generate("O")


class Known:
    """Who may sign as whom, for an hour: a store signed by a root, as every workspace has it."""

    def __init__(self) -> None:
        now = clock_ms()
        window = {"not_before": timestamp(now), "not_after": timestamp(now + 3_600_000)}
        agents = [
            AgentRecord(agent=role, keys=[KeyRecord(key_id=key.key_id, **window)], capabilities=["skill:*"])
            for role, key in KEYS.items()
        ]
        store = TrustStore(workspace="default", version=1, issued_at=timestamp(now), agents=agents)
        self.trust: Trust = load(sign_store(store, [ROOT]), [ROOT.key_id])


def mandate(count: int) -> Origin:
    """What the tasks come from: a goal with a budget and a deadline."""
    goal_id = new_id(clock_ms())
    return Origin(
        id=goal_id,
        digest="0" * 64,
        workspace="default",
        goal_id=goal_id,
        trace_id=trace_of(goal_id),
        deadline_ms=clock_ms() + 600_000,
        budget=Amount(actions=count),
        risk_tier="minimal",
        policy_context=PolicyContext(policy_bundle="0" * 64, contract_ref="", capabilities=["skill:*"]),
        compliance_tags=[],
    )


async def main(count: int) -> None:
    handled, all_handled = 0, anyio.Event()

    async def handler(hop: Hop) -> Outcome:
        nonlocal handled
        handled += 1
        if handled == count:
            all_handled.set()
        return DONE

    async with AsyncExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory())
        server = await stack.enter_async_context(EmbeddedServer(Path(place)))
        transport = await stack.enter_async_context(JetStreamTransport.connect(server.url, name="two-agents"))
        await transport.declare(declarations(("default",)))
        # Both agents live here: what one seals, the other need not check as a stranger's (docs/adr/0019).
        own = OwnSeals()
        sender = Sender(transport, Identity("orchestrator", KEYS["orchestrator"]), own=own)
        receiver = Receiver("executor", Known(), Limits(), ReplayMemory(), own=own)
        executor = Actor(
            transport,
            workspace="default",
            role="executor",
            consumer=inbox_of("default", "executor"),
            handler=onion([gates_stage(receiving_gates(receiver))], handler),
        )
        parent, now = mandate(count), clock_ms()
        tasks = [
            Task(task_id=f"t{n}", attempt=1, skill="noop", input={"n": n}, now=timestamp(now)) for n in range(count)
        ]
        drafts = [
            Draft(to="executor", intent="act", payload=task, step=task.task_id, budget=Amount(actions=1))
            for task in tasks
        ]
        async with executor.running():
            began = time.perf_counter()
            await sender.send(parent, drafts, now_ms=now)
            with anyio.fail_after(60):
                await all_handled.wait()
            taken_s = time.perf_counter() - began
        print(f"{handled} of {count} hops signed, verified and handled, {count / taken_s:,.0f} a second")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Two governed agents in one process.")
    parser.add_argument("count", nargs="?", type=int, choices=range(1, 20_001), default=1_000, metavar="COUNT")
    anyio.run(main, parser.parse_args().count)
