"""A hop: one process publishes, another receives and acknowledges. Raw with nats-py, and governed with everything on:
derive, attenuate, sign, publish; size, decode, canonical, key, signature, route, freshness, replay, trace, authority, all
policies, rate, breaker, budget lease, handler, acknowledge.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop
from msgspec.structs import replace

from interlock.agents.process import collect_rarely
from interlock.bus.actor import Actor
from interlock.bus.clock import SystemClock
from interlock.bus.gates import Receiver, receiving_gates
from interlock.bus.hop import DONE, Hop, Outcome
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.middleware import Profile, gates_stage, onion
from interlock.bus.policy.service import policy_service
from interlock.bus.policy.stage import HopFactsSource, policy_layer
from interlock.bus.sender import Identity, Sender
from interlock.bus.server.embedded import EmbeddedServer
from interlock.bus.streams import declarations, inbox_of
from interlock.bus.telemetry.watching import HopWatch
from interlock.envelope.amounts import Amount, clock_ms
from interlock.envelope.ids import new_id
from interlock.envelope.replay import ReplayMemory
from interlock.envelope.verification import Limits
from scripts.bench.executing import executing
from scripts.bench.mandates import BYTES, KEYS, POLICIES, Source, described, draft, mandate
from scripts.bench.recorder import record

WINDOW = 128
RAW_SUBJECT = "interlock.default.role.executor.raw.act"
Job = Callable[[str, int, Any], Coroutine[Any, Any, dict[str, float]]]


async def send_raw(url: str, count: int, _: Any) -> dict[str, float]:
    async with JetStreamTransport.connect(url, name="raw") as transport:
        context, data = transport.client.jetstream(), b"x" * BYTES
        began_cpu, began = time.process_time(), time.perf_counter()

        async def worker(numbers: range) -> None:
            for _number in numbers:
                await context.publish(RAW_SUBJECT, data)

        await asyncio.gather(*(worker(range(start, count, WINDOW)) for start in range(WINDOW)))
        return {"cpu": time.process_time() - began_cpu, "wall": time.perf_counter() - began}


async def receive_raw(url: str, count: int, ready: Any) -> dict[str, float]:
    """nats-py: one long pull, a callback, an acknowledgement each."""
    async with JetStreamTransport.connect(url, name="raw") as transport:
        client, got, done = transport.client, 0, asyncio.Event()
        inbox = client.new_inbox()

        async def on_message(message: Any) -> None:
            nonlocal got
            if message.reply:
                await message.ack()
                got += 1
                if got >= count:
                    done.set()

        await client.subscribe(inbox, cb=on_message, pending_msgs_limit=0, pending_bytes_limit=0)
        request = b'{"batch": %d, "expires": 60000000000}' % count
        await client.publish("$JS.API.CONSUMER.MSG.NEXT.HOPS.executor-default", request, inbox)
        await client.flush()
        ready.set()
        began_cpu = time.process_time()
        await asyncio.wait_for(done.wait(), 120)
        await client.flush()
        return {"cpu": time.process_time() - began_cpu, "end": time.time()}


async def send_governed(url: str, count: int, options: Any) -> dict[str, float]:
    goal_id, profiled, _ = options
    async with JetStreamTransport.connect(url, name="orchestrator") as transport:
        sender = Sender(transport, Identity("orchestrator", KEYS["orchestrator"]))
        parent = mandate(goal_id, Amount(10**6, 10**9, 10**9, 10**9))
        spent = {"derive": 0, "sign": 0}
        began_cpu, began = time.process_time(), time.perf_counter()

        async def worker(numbers: range) -> None:
            for number in numbers:
                await sender.send(parent, [draft(number)], now_ms=clock_ms())

        await asyncio.gather(*(worker(range(start, count, WINDOW)) for start in range(WINDOW)))
        cpu, wall = time.process_time() - began_cpu, time.perf_counter() - began
        result = {"cpu": cpu, "wall": wall}
        if profiled:
            from interlock.envelope.children import derive
            from interlock.envelope.signing import seal

            for number in range(1_000):
                start = time.process_time_ns()
                child = derive(parent, draft(number), sender="orchestrator", key_id="U" + "A" * 55, now_ms=clock_ms())
                middle = time.process_time_ns()
                seal(child, KEYS["orchestrator"])
                spent["derive"] += middle - start
                spent["sign"] += time.process_time_ns() - middle
            result |= {f"us.{name}": ns / 1_000_000 for name, ns in spent.items()}
            result["us.publish"] = cpu / count * 1e6 - result["us.derive"] - result["us.sign"]
        return result


async def receive_governed(url: str, count: int, options: Any, watch: HopWatch | None = None) -> dict[str, float]:
    ready, goal_id, profiled, _ = options
    profile = Profile()
    async with JetStreamTransport.connect(url, name="executor") as transport:
        got, done, latencies = 0, asyncio.Event(), []

        async def handler(hop: Hop) -> Outcome:
            nonlocal got
            got += 1
            latencies.append(time.time() * 1000 - hop.message.stored_ms)
            if got >= count:
                done.set()
            return DONE

        async with executing(transport, goal_id, count, handler, profile=profile if profiled else None, watch=watch):
            ready.set()
            began_cpu = time.process_time()
            await asyncio.wait_for(done.wait(), 120)
            await transport.client.flush()
            result = {"cpu": time.process_time() - began_cpu, "end": time.time()}
        if profiled:
            result |= {f"us.{name}": ns / 1000 / count for name, ns in profile.spent_ns.items()}
        return result


def in_process(job: Job, url: str, count: int, options: Any, results: Any, name: str) -> None:
    collect_rarely()  # as every role's process
    results[name] = uvloop.run(job(url, count, options))


def pair(
    receive: Job, send: Job, count: int, *, profiled: bool = False, audit: str = "", collector: str = ""
) -> dict[str, dict[str, float]]:
    """One consumer process, one producer process, a broker of their own. audit: `recorded`, and a third process records
    every hop; `judged`, and verifies it before. collector: where traces go, for whoever makes some.
    """
    context = multiprocessing.get_context("spawn")
    goal_id = new_id(clock_ms())
    with tempfile.TemporaryDirectory() as place, context.Manager() as manager:
        server = EmbeddedServer(Path(place))
        server.start()
        try:
            uvloop.run(declare(server.url, count))
            results, ready = manager.dict(), manager.Event()
            raw = receive is receive_raw
            arguments = ready if raw else (ready, goal_id, profiled, collector)
            consumer = context.Process(target=in_process, args=(receive, server.url, count, arguments, results, "in"))
            consumer.start()
            ready.wait(30)
            auditor = None
            if audit:
                recording = manager.Event()
                trust = Source().trust if audit == "judged" else None
                auditor = context.Process(
                    target=in_process, args=(record, server.url, count, (recording, trust), results, "audit")
                )
                auditor.start()
                recording.wait(30)
            began = time.time()
            producer = context.Process(
                target=in_process, args=(send, server.url, count, (goal_id, profiled, collector), results, "out")
            )
            producer.start()
            producer.join()
            consumer.join()
            if auditor is not None:
                auditor.join()
            found = {name: dict(result) for name, result in results.items()}
            found["out"]["began"] = began
            return found
        finally:
            server.stop()


async def declare(url: str, count: int) -> None:
    async with JetStreamTransport.connect(url, name="bench") as transport:
        wanted = declarations(("default",))
        wide = tuple(replace(consumer, max_ack_pending=max(1024, count)) for consumer in wanted.consumers)
        await transport.declare(replace(wanted, consumers=wide))


async def latency(url: str, *, governed: bool, count: int = 300) -> float:
    """Median ms from before a publish to inside the handler, one at a time, in one process."""
    samples: list[float] = []
    async with JetStreamTransport.connect(url, name="executor") as transport:
        arrived = asyncio.Event()

        async def handler(_: Hop) -> Outcome:
            samples.append(time.perf_counter() - sent)
            arrived.set()
            return DONE

        async def on_raw(incoming: Any) -> None:
            samples.append(time.perf_counter() - sent)
            await incoming.ack()
            arrived.set()

        sent = 0.0
        parent = mandate(new_id(clock_ms()), Amount(10**6, 10**9, 10**9, 10**9))
        sender = Sender(transport, Identity("orchestrator", KEYS["orchestrator"]))
        source = Source()
        receiver = Receiver("executor", source, Limits(), ReplayMemory(), source)
        service = policy_service(POLICIES)
        service.worker.start()
        policy = policy_layer(service, HopFactsSource("executor", receiver.trust, described))
        stages = [gates_stage(receiving_gates(receiver)), ("policy", policy)]
        inbox = inbox_of("default", "executor")
        if governed:
            actor = Actor(
                transport, workspace="default", role="executor", consumer=inbox, handler=onion(stages, handler)
            )
            consuming = actor.running()
        else:
            consuming = transport.consume(inbox, on_raw, concurrency=64)
        async with consuming:
            for number in range(count):
                arrived.clear()
                sent = time.perf_counter()
                if governed:
                    await sender.send(parent, [draft(number)], now_ms=SystemClock().now_ms())
                else:
                    await transport.publish(RAW_SUBJECT, b"x" * BYTES)
                await asyncio.wait_for(arrived.wait(), 10)
    return statistics.median(samples) * 1000


def latencies() -> tuple[float, float]:
    """(raw, governed) in ms."""
    found = []
    for governed in (False, True):
        with tempfile.TemporaryDirectory() as place:
            server = EmbeddedServer(Path(place))
            server.start()
            try:
                uvloop.run(declare(server.url, 1_000))
                found.append(uvloop.run(latency(server.url, governed=governed)))
            finally:
                server.stop()
    return found[0], found[1]


def measure(count: int) -> dict[str, float]:
    raw = pair(receive_raw, send_raw, count)
    governed = pair(receive_governed, send_governed, count)
    split = pair(receive_governed, send_governed, count, profiled=True)
    recorded = pair(receive_governed, send_governed, count, audit="recorded")
    judged = pair(receive_governed, send_governed, count, audit="judged")
    raw_ms, governed_ms = latencies()
    cpu = governed["in"]["cpu"] + governed["out"]["cpu"]
    raw_cpu = raw["in"]["cpu"] + raw["out"]["cpu"]
    figures = {
        "raw_hop_per_s": count / raw["out"]["wall"],
        "governed_hop_per_s": count / governed["out"]["wall"],
        "governed_hop_per_core_per_s": count / cpu,
        "raw_hop_per_core_per_s": count / raw_cpu,
        "governed_to_raw_cpu": cpu / raw_cpu,
        # What a hop costs its sender and receiver more while it is recorded; what the auditor, in a process of its own,
        # spends on recording it; and on verifying it again besides.
        "audit_adds_to_hop_percent": 100 * ((judged["in"]["cpu"] + judged["out"]["cpu"]) / cpu - 1),
        "audit_recording_us": recorded["audit"]["cpu"] / count * 1e6,
        "audit_verifying_us": (judged["audit"]["cpu"] - recorded["audit"]["cpu"]) / count * 1e6,
        "latency_raw_ms": raw_ms,
        "added_latency_ms": governed_ms - raw_ms,
    }
    stages = {**split["in"], **split["out"]}
    figures |= {
        f"hop_stage_us.{name.removeprefix('us.')}": value for name, value in stages.items() if name.startswith("us.")
    }
    return figures
