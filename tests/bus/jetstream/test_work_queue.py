"""Workers of a queue: nothing is lost or left lying, and waiting handlers run side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.bus.jetstream.work_queue import WorkQueue

Handler = Callable[[int], Awaitable[None]]


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def start(queue: WorkQueue[int], workers: int, handle: Handler) -> list[asyncio.Task[None]]:
    async def work() -> None:
        while True:
            await handle(await queue.get())

    return [asyncio.create_task(work()) for _ in range(workers)]


async def stop(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_handlers_that_wait_run_side_by_side_and_in_order() -> None:
    async def main() -> None:
        queue, gate, begun = WorkQueue[int](), asyncio.Event(), list[int]()

        async def handle(item: int) -> None:
            begun.append(item)
            await gate.wait()

        tasks = start(queue, 3, handle)
        await settle()
        for item in range(5):
            queue.put(item)
        await settle()
        assert begun == [0, 1, 2]
        assert len(queue) == 2
        gate.set()
        await settle()
        assert begun == [0, 1, 2, 3, 4]
        await stop(tasks)

    asyncio.run(main())


def test_one_worker_runs_through_what_does_not_wait() -> None:
    async def main() -> None:
        queue, workers = WorkQueue[int](), list[object]()

        async def handle(_: int) -> None:
            workers.append(asyncio.current_task())

        tasks = start(queue, 8, handle)
        await settle()
        for item in range(50):
            queue.put(item)
        await settle()
        assert len(workers) == 50
        assert len(set(workers)) == 1
        await stop(tasks)

    asyncio.run(main())


@pytest.mark.parametrize("before_the_wake", [True, False])
def test_a_message_whose_worker_is_cancelled_goes_to_another(before_the_wake: bool) -> None:
    async def main() -> None:
        queue, got = WorkQueue[int](), list[int]()

        async def handle(item: int) -> None:
            got.append(item)

        tasks = start(queue, 2, handle)
        await settle()
        if before_the_wake:
            tasks[0].cancel()
            queue.put(1)
        else:
            queue.put(1)
            tasks[0].cancel()
        await settle()
        assert got == [1]
        await stop(tasks)

    asyncio.run(main())


STEPS = st.lists(st.sampled_from(["put", "turn", "cancel", "open"]), max_size=40)


@given(STEPS)
def test_nothing_is_lost_or_left_lying(steps: list[str]) -> None:
    """Whatever order of arrivals, turns, cancellations and waiting handlers."""

    async def main() -> None:
        queue, begun, number = WorkQueue[int](), list[int](), 0
        gate = asyncio.Event()

        async def handle(item: int) -> None:
            begun.append(item)
            if item % 3 == 0:
                await gate.wait()

        tasks = start(queue, 4, handle)
        for step in steps:
            if step == "put":
                queue.put(number)
                number += 1
            elif step == "turn":
                await asyncio.sleep(0)
            elif step == "open":
                gate.set()
            elif len(tasks) > 1:
                tasks.pop().cancel()
        gate.set()
        await settle()
        assert begun == list(range(number))
        assert len(queue) == 0
        await stop(tasks)

    asyncio.run(main())
