"""A stream that workspaces share takes what is for those that hear it, and nothing else."""

from __future__ import annotations

import time

import anyio
import pytest

from interlock.bus.errors import NobodyListens, NotFound
from interlock.bus.streams import (
    GOALS,
    HOPS,
    MOST_TOLD_APART,
    ConsumerSpec,
    Declarations,
    StreamSpec,
    taken,
    unheard,
)
from tests.bus.conformance.bench import Bench, Inbox

pytestmark = pytest.mark.anyio


def shared(bench: Bench, *workspaces: str) -> Declarations:
    stream = StreamSpec(
        name=bench.name, subjects=(bench.subject("*", "goal", ">"),), max_bytes=1 << 20, no_ack=True, heard_by="gateway"
    )
    consumers = tuple(
        ConsumerSpec(stream=bench.name, name=f"gateway-{one}", subjects=(bench.subject(one, "goal", ">"),))
        for one in workspaces
    )
    return Declarations(streams=(stream,), consumers=consumers)


async def taken_by(bench: Bench, *workspaces: str) -> list[str]:
    """Of these workspaces, those for which a message sent to each of them is kept; heard last by the last of them."""
    held = await bench.transport.count(bench.name, ">")
    for one in workspaces:
        await bench.transport.send(bench.subject(one, "goal", "submit"), one.encode())
    last = bench.subject(workspaces[-1], "goal", "submit")
    with anyio.fail_after(10):
        while await bench.transport.last(bench.name, last) is None:
            await bench.elapse(0)
    return [message.data.decode() for message in await bench.read(from_sequence=held + 1)]


async def test_what_nobody_will_ever_hear_is_answered_by_the_broker_and_not_kept(bench: Bench) -> None:
    await bench.transport.declare(shared(bench, "mine"))
    began_s = time.monotonic()
    with pytest.raises(NobodyListens, match="nobody listens"):
        await bench.transport.request(bench.subject("other", "goal", "submit"), b"{}", timeout_ms=60_000)
    assert time.monotonic() - began_s < 30
    assert await taken_by(bench, "other", "mine") == ["mine"]


async def test_workspaces_declared_one_after_the_other_or_all_at_once_are_all_heard(bench: Bench) -> None:
    names = [f"w{number}" for number in range(12)]

    async def declare(name: str) -> None:
        async with bench.connect() as own:
            await own.declare(shared(bench, name))

    for name in names[:2]:
        await declare(name)
    async with anyio.create_task_group() as group:
        for name in names[2:]:
            group.start_soon(declare, name)
    assert await taken_by(bench, "other", *names) == names
    await bench.transport.declare(shared(bench, "w0"))  # as every start does: nobody else's is taken away
    assert await taken_by(bench, "other", *names) == names


async def test_a_stream_that_took_everything_goes_on_for_the_workspaces_that_were_there(bench: Bench) -> None:
    await bench.stream(subjects=(bench.subject("*", "goal", ">"),), no_ack=True)
    await bench.transport.declare(Declarations(consumers=shared(bench, "before", "stopped").consumers))
    assert await taken_by(bench, "other", "before") == ["other", "before"]
    await bench.transport.declare(shared(bench, "new"))
    assert await taken_by(bench, "another", "before", "stopped", "new") == ["before", "stopped", "new"]
    inbox = Inbox()
    async with bench.transport.consume(shared(bench, "before").consumers[0], inbox, concurrency=4):
        await bench.until(lambda: inbox.data == [b"before", b"before"])


async def test_bound_is_only_what_its_stream_takes(bench: Bench) -> None:
    await bench.transport.declare(shared(bench, "mine"))
    await bench.transport.declare(shared(bench, "mine"), bind_only=True)
    late = shared(bench, "mine", "late")
    await bench.transport.declare(Declarations(consumers=late.consumers))  # its stream was not asked to hear it
    with pytest.raises(NotFound, match=r"does not take .*\.late\.goal\.>"):
        await bench.transport.declare(late, bind_only=True)
    await bench.transport.declare(late)
    await bench.transport.declare(late, bind_only=True)


@pytest.mark.parametrize(
    ("consumers", "subjects"),
    [
        ((), ("interlock.*.goal.>",)),
        (("gateway-a",), ("interlock.a.goal.>",)),
        (("gateway-b-c", "gateway-a", "reader", "gateways"), ("interlock.a.goal.>", "interlock.b-c.goal.>")),
        (("reader",), ("interlock.*.goal.>",)),
        ([f"gateway-{n}" for n in range(MOST_TOLD_APART + 1)], ("interlock.*.goal.>",)),
    ],
)
def test_what_a_stream_takes_is_told_by_its_consumers(consumers: tuple[str, ...], subjects: tuple[str, ...]) -> None:
    assert taken(GOALS, consumers) == subjects
    assert len(taken(GOALS, [f"gateway-{n}" for n in range(MOST_TOLD_APART)])) == MOST_TOLD_APART


def test_a_stream_that_is_not_told_apart_takes_all_it_says() -> None:
    assert taken(HOPS, ("executor-a",)) == HOPS.subjects


def test_consumers_of_other_streams_are_no_matter() -> None:
    spec = ConsumerSpec(stream="S", name="c", subjects=("a.>",))
    assert unheard([spec], {}) == unheard([spec], {"S": ["a.*.b"]}) == ""
    assert unheard([spec], {"S": []}) == unheard([spec], {"S": ["b.>"]}) == "stream S does not take a.>"
