"""Many processes spend from one budget by leases while some of them are killed: is a unit ever spent twice, and when
does what the dead held come back?

Usage: python scripts/campaigns/ledger.py [--workers 32] [--units 1000000] [--kills 16] [--hold-ms 3000] [--seed N]. Each
worker writes down what it spends the moment it spends it. Prints a table and the seed; exit 1 if more than the budget was
spent, if the ledger counts less than was spent, or if the lease of a killed worker was open later than it may be: its
hold, as renewed last, and EXPIRY_MS.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
from anyio.abc import Process
from msgspec import Struct

from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.ledger.balance import Answer, Balance
from interlock.bus.ledger.client import Lease, LedgerClient, goal_scope, open_goal
from interlock.bus.ledger.stored import stored_balance
from interlock.bus.ledger.writer import EXPIRE_EVERY_MS, LedgerWriter
from interlock.bus.server.embedded import EmbeddedServer
from interlock.bus.streams import LEDGER, Declarations
from interlock.bus.transport import Transport
from interlock.envelope.amounts import Amount, clock_ms
from interlock.envelope.ids import new_id

WORKSPACE = "campaign"
LEAST_LEASE = 16  # below that a quarter and an eighth of a lease are nothing
EXPIRY_MS = EXPIRE_EVERY_MS + 500  # the ledger looks every second; half a second for a machine with other work
DEADLINE_S = 280


class Result(Struct, frozen=True, kw_only=True):
    """Units. spent: by the workers' own records; used: by the ledger; back_ms: how long after its death each killed
    holder's lease was closed.
    """

    workers: int
    limit: int
    spent: int
    used: int
    still_open: int
    hold_ms: int
    back_ms: list[int]
    took_s: float

    @property
    def passed(self) -> bool:
        late = any(ms > self.hold_ms + EXPIRY_MS for ms in self.back_ms)
        return self.spent <= self.used <= self.limit and not self.still_open and not late


async def campaign(root: Path, *, workers: int, units: int, kills: int, hold_ms: int, seed: int) -> Result:
    """Runs until nothing is left to spend and all kills were made."""
    dice = random.Random(seed)
    began = time.monotonic()
    goal_id = new_id(clock_ms())
    back_ms: list[int] = []
    with anyio.fail_after(DEADLINE_S):
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(EmbeddedServer(root / "store"))
            transport = await stack.enter_async_context(JetStreamTransport.connect(server.url, name="ledger"))
            await transport.declare(Declarations(streams=(LEDGER,)))
            day = Amount(10**12, 10**12, 10**12, 10**12)
            ledger = await stack.enter_async_context(writing(transport, day))
            now_ms = clock_ms()
            opened = await open_goal(ledger, goal_id, Amount(units), now_ms=now_ms, expires_ms=now_ms + 10**9)
            assert opened.granted, opened
            crowd = await stack.enter_async_context(crowd_of(root, server.url, goal_id, workers, units, hold_ms, seed))
            async with anyio.create_task_group() as group:
                for _ in range(kills):
                    await anyio.sleep(dice.uniform(0.05, 0.4))
                    victim = await killed(transport, goal_id, crowd, dice)
                    if victim:
                        group.start_soon(follow, transport, goal_id, victim, back_ms)
            balance = await exhausted(transport, goal_id)
    spent = sum(read_spent(path) for path in root.glob("spent-*"))
    return Result(
        workers=workers,
        limit=units,
        spent=spent,
        used=balance.used.tokens,
        still_open=len(balance.open),
        hold_ms=hold_ms,
        back_ms=back_ms,
        took_s=round(time.monotonic() - began, 1),
    )


@asynccontextmanager
async def writing(transport: Transport, day: Amount) -> AsyncIterator[LedgerWriter]:
    writer = LedgerWriter(transport, WORKSPACE, day)
    async with writer.running():
        yield writer


class Crowd:
    """The workers; a killed one is followed by another with a name of its own."""

    def __init__(self, stack: AsyncExitStack, options: list[str], root: Path) -> None:
        self._stack = stack
        self._options = options
        self._root = root
        self._count = 0
        self.alive: dict[str, Process] = {}

    async def add(self) -> None:
        name = f"w{self._count}"
        self._count += 1
        command = [sys.executable, __file__, "--worker", name, "--root", str(self._root), *self._options]
        process = await anyio.open_process(command, stdout=None, stderr=None, stdin=None)
        self._stack.push_async_callback(ended, process)
        self.alive[name] = process


async def ended(process: Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


@asynccontextmanager
async def crowd_of(
    root: Path, url: str, goal_id: str, workers: int, units: int, hold_ms: int, seed: int
) -> AsyncIterator[Crowd]:
    size = max(LEAST_LEASE, units // (workers * 16))
    options = ["--url", url, "--goal", goal_id, "--size", str(size), "--hold-ms", str(hold_ms), "--seed", str(seed)]
    async with AsyncExitStack() as stack:
        crowd = Crowd(stack, options, root)
        for _ in range(workers):
            await crowd.add()
        yield crowd


async def killed(transport: Transport, goal_id: str, crowd: Crowd, dice: random.Random) -> str:
    """Kills a worker that holds a lease and gives its name, empty if nobody holds one any more."""
    while not (holders := await holding(transport, goal_id, crowd)):
        if await is_spent(transport, goal_id):
            return ""
        await anyio.sleep(0.02)
    name = dice.choice(sorted(holders))
    crowd.alive.pop(name).send_signal(signal.SIGKILL)
    await crowd.add()
    return name


async def follow(transport: Transport, goal_id: str, name: str, back_ms: list[int]) -> None:
    """Notes how long after its death a killed worker's lease was closed."""
    at = time.monotonic()
    while any(key.startswith(f"{name}-") for key in (await balance_of(transport, goal_id)).open):
        await anyio.sleep(0.02)
    back_ms.append(round((time.monotonic() - at) * 1000))


async def holding(transport: Transport, goal_id: str, crowd: Crowd) -> set[str]:
    balance = await balance_of(transport, goal_id)
    return {key.partition("-")[0] for key in balance.open} & crowd.alive.keys()


async def is_spent(transport: Transport, goal_id: str) -> bool:
    balance = await balance_of(transport, goal_id)
    return not balance.open and balance.left.tokens < LEAST_LEASE


async def exhausted(transport: Transport, goal_id: str) -> Balance:
    while not await is_spent(transport, goal_id):
        await anyio.sleep(0.05)
    return await balance_of(transport, goal_id)


async def balance_of(transport: Transport, goal_id: str) -> Balance:
    found = await stored_balance(transport, WORKSPACE, goal_scope(goal_id), None)
    assert found is not None
    return found[0]


def read_spent(path: Path) -> int:
    data = path.read_bytes()
    return int.from_bytes(data[:8], "big")


async def work(name: str, root: Path, url: str, goal_id: str, size: int, hold_ms: int, seed: int) -> None:
    """One worker: takes leases and spends them until nothing is left. What is spent is in its file at once."""
    dice = random.Random(f"{seed}-{name}")
    file = os.open(root / f"spent-{name}", os.O_WRONLY | os.O_CREAT, 0o600)
    spent, number = 0, 0
    async with JetStreamTransport.connect(url, name=name) as transport:
        ledger = LedgerClient(transport, WORKSPACE, timeout_ms=10_000, tries=3)
        while True:
            number += 1
            taken = Lease.taken(
                transport, ledger, goal_scope(goal_id), f"{name}-{number}", Amount(size), hold_ms=hold_ms
            )
            async with taken as lease:
                if isinstance(lease, Answer):
                    if lease.reason == "over_budget" and lease.left.tokens >= LEAST_LEASE:
                        size = min(size, lease.left.tokens)
                    await anyio.sleep(0.05)
                    continue
                room, until_ms = size, clock_ms() + hold_ms
                while room and clock_ms() < until_ms:
                    units = min(room, dice.randint(1, max(1, size // 16)))
                    if lease.spend(Amount(units), clock_ms()):
                        spent, room = spent + units, room - units
                        os.pwrite(file, spent.to_bytes(8, "big"), 0)
                    await anyio.sleep(0.002)


def table(result: Result) -> str:
    """Two lines."""
    back = sorted(result.back_ms) or [0]
    heads = ("workers", "budget", "spent", "used", "never used", "kills", "back ms median", "back ms last", "seconds")
    values = (
        result.workers,
        result.limit,
        result.spent,
        result.used,
        result.limit - result.spent,
        len(result.back_ms),
        back[len(back) // 2],
        back[-1],
        result.took_s,
    )
    return "\n".join("".join(f"{cell!s:>16}" for cell in row) for row in (heads, values))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python scripts/campaigns/ledger.py")
    parser.add_argument("--workers", type=int, default=32)
    parser.add_argument("--units", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=16)
    parser.add_argument("--hold-ms", type=int, default=3_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    for inner in ("--worker", "--url", "--goal"):
        parser.add_argument(inner, default="", help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        anyio.run(work, given.worker, given.root, given.url, given.goal, given.size, given.hold_ms, given.seed)
        return 0

    async def run(root: Path) -> Result:
        return await campaign(
            root, workers=given.workers, units=given.units, kills=given.kills, hold_ms=given.hold_ms, seed=given.seed
        )

    with tempfile.TemporaryDirectory(prefix="interlock-ledger-") as root:
        result = anyio.run(run, Path(root))
    print(table(result))
    print(f"seed {given.seed}: {'passed' if result.passed else 'FAILED'}")
    return 0 if result.passed else 1


if __name__ == "__main__":
    sys.exit(main())
