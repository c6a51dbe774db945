"""Publishing, numbering, repeating, expecting, limits: the first guarantees of every transport."""

from __future__ import annotations

import time
from typing import Any

import anyio
import pytest

from interlock.bus.errors import BusError, Conflict, NotFound, Refused, StoreFull, Unavailable
from interlock.bus.kv import kv_get, kv_put
from interlock.bus.streams import BucketSpec, ConsumerSpec, Declarations, StreamSpec
from interlock.bus.transport import MESSAGE_ID
from tests.bus.conformance.bench import Bench

pytestmark = pytest.mark.anyio


async def test_a_published_message_is_stored_numbered_and_readable_at_once(bench: Bench) -> None:
    name = await bench.stream()
    ack = await bench.transport.publish(bench.subject("a"), b"one", headers={"Interlock-Kind": "test"})
    assert (ack.stream, ack.sequence, ack.duplicate) == (name, 1, False)
    stored = await bench.transport.get(name, 1)
    assert stored is not None
    assert (stored.subject, stored.data, stored.sequence) == (bench.subject("a"), b"one", 1)
    assert dict(stored.headers) == {"Interlock-Kind": "test"}
    assert stored == await bench.transport.last(name, bench.subject("a"))
    assert [stored] == await bench.read()


async def test_a_purge_removes_a_subject_below_a_sequence(bench: Bench) -> None:
    name = await bench.stream()
    for token in ("a.x", "b.x", "a.y", "a.x"):
        await bench.transport.publish(bench.subject(token), token.encode())
    for before, removed, left in ((0, 0, [1, 2, 3, 4]), (1, 0, [1, 2, 3, 4]), (4, 2, [2, 4]), (99, 1, [2])):
        assert await bench.transport.purge(name, bench.subject("a.>"), before) == removed
        assert [message.sequence for message in await bench.read()] == left
    assert (await bench.transport.publish(bench.subject("a.x"), b"")).sequence == 5


async def test_a_purge_is_refused_where_it_is_denied(bench: Bench) -> None:
    name = await bench.stream(deny_purge=True)
    await bench.publish(b"one", b"two")
    with pytest.raises(Refused):
        await bench.transport.purge(name, bench.subject(">"), 2)
    assert len(await bench.read()) == 2


async def test_messages_are_counted_by_subject(bench: Bench) -> None:
    name = await bench.stream()
    for token in ("a.x", "a.y", "a.x", "b.x"):
        await bench.transport.publish(bench.subject(token), token.encode())
    counted = [await bench.transport.count(name, bench.subject(token)) for token in ("a.x", "a.*", "*.x", ">", "c.x")]
    assert counted == [2, 3, 3, 4, 0]
    with pytest.raises(NotFound):
        await bench.transport.count(f"{name}-missing", bench.subject(">"))


async def test_stored_ms_is_the_brokers_time(bench: Bench) -> None:
    name = await bench.stream()
    before_ms = bench.transport.clock.now_ms()
    await bench.publish(b"one")
    stored = await bench.transport.get(name, 1)
    assert stored is not None
    assert before_ms <= stored.stored_ms <= bench.transport.clock.now_ms()


async def test_messages_of_all_subjects_are_in_one_order(bench: Bench) -> None:
    await bench.stream()
    acks: list[tuple[int, str]] = []

    async def writer(number: int) -> None:
        for index in range(20):
            ack = await bench.transport.publish(bench.subject(f"w{number}"), f"{number}.{index}".encode())
            acks.append((ack.sequence, f"{number}.{index}"))

    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(writer, number)
    assert sorted(sequence for sequence, _ in acks) == list(range(1, 101))
    assert [(one.sequence, one.data.decode()) for one in await bench.read()] == sorted(acks)
    for number in range(5):
        own = [text for _, text in sorted(acks) if text.startswith(f"{number}.")]
        assert own == [f"{number}.{index}" for index in range(20)]


@pytest.mark.parametrize("data", [b"", b"\x00\xff\r\n", b"x" * 100_000])
async def test_any_bytes_are_kept(data: bytes, bench: Bench) -> None:
    name = await bench.stream()
    await bench.publish(data)
    stored = await bench.transport.get(name, 1)
    assert stored is not None
    assert stored.data == data


class TestRepeats:
    async def test_a_message_id_is_stored_once_and_answered_with_the_first_sequence(self, bench: Bench) -> None:
        await bench.stream()
        await bench.publish(b"before")
        first = await bench.transport.publish(bench.subject("a"), b"one", message_id="m")
        again = await bench.transport.publish(bench.subject("a"), b"one", message_id="m")
        elsewhere = await bench.transport.publish(bench.subject("b"), b"other", message_id="m")
        assert (first.sequence, first.duplicate) == (2, False)
        assert (again.sequence, again.duplicate) == (2, True)
        assert (elsewhere.sequence, elsewhere.duplicate) == (2, True)
        assert [one.data for one in await bench.read()] == [b"before", b"one"]
        assert (await bench.read())[1].headers[MESSAGE_ID] == "m"

    async def test_without_an_id_equal_messages_are_different(self, bench: Bench) -> None:
        await bench.stream()
        assert await bench.publish(b"one", b"one") == [1, 2]

    async def test_the_window_ends(self, bench: Bench) -> None:
        await bench.stream(dedupe_ms=200)
        await bench.transport.publish(bench.subject("a"), b"one", message_id="m")
        await bench.elapse(100)
        sequences = {1}
        start_ms, deadline_s = bench.now_ms(), time.monotonic() + 10
        while sequences == {1}:
            await bench.elapse(50)
            sequences.add((await bench.transport.publish(bench.subject("a"), b"one", message_id="m")).sequence)
            assert time.monotonic() < deadline_s
        assert sequences == {1, 2}
        assert bench.now_ms() - start_ms >= 90


class TestExpectedSequence:
    async def test_stores_only_after_the_expected_one(self, bench: Bench) -> None:
        await bench.stream()
        subject = bench.subject("a")
        first = await bench.transport.publish(subject, b"1", expected_sequence=0)
        await bench.publish(b"other", to="b")
        second = await bench.transport.publish(subject, b"2", expected_sequence=first.sequence)
        assert (first.sequence, second.sequence) == (1, 3)
        for wrong in (0, 1, 2, 4):
            with pytest.raises(Conflict) as caught:
                await bench.transport.publish(subject, b"3", expected_sequence=wrong)
            assert (caught.value.reason, caught.value.retryable) == ("revision_conflict", True)
            assert not caught.value.may_have_happened
        assert len(await bench.read()) == 3

    async def test_of_many_writers_one_wins_each_round(self, bench: Bench) -> None:
        await bench.stream()
        won: list[int] = []

        async def writer(number: int, expected: int) -> None:
            try:
                await bench.transport.publish(bench.subject("a"), b"%d" % number, expected_sequence=expected)
                won.append(number)
            except Conflict:
                pass

        for expected in range(5):
            async with anyio.create_task_group() as group:
                for number in range(8):
                    group.start_soon(writer, number, expected)
        assert [int(one.data) for one in await bench.read()] == won
        assert len(won) == 5

    async def test_after_an_ambiguous_answer_the_repeat_is_a_conflict(self, bench: Bench) -> None:
        """A single server looks at the expected sequence first; whoever repeats such a publish has to read back."""
        await bench.stream()
        first = await bench.transport.publish(bench.subject("a"), b"1", message_id="m", expected_sequence=0)
        with pytest.raises(Conflict):
            await bench.transport.publish(bench.subject("a"), b"1", message_id="m", expected_sequence=0)
        again = await bench.transport.publish(bench.subject("a"), b"1", message_id="m", expected_sequence=1)
        assert (again.sequence, again.duplicate) == (first.sequence, True)


class TestLimits:
    async def test_a_full_stream_refuses_and_keeps_what_it_has(self, bench: Bench) -> None:
        await bench.stream(max_bytes=10_000, discard="new")
        stored = 0
        with pytest.raises(StoreFull) as caught:
            for _ in range(20):
                await bench.publish(b"x" * 1000)
                stored += 1
        assert caught.value.retryable
        assert stored == 9
        assert [one.sequence for one in await bench.read()] == list(range(1, stored + 1))
        await bench.stream(max_bytes=20_000, discard="new")
        assert await bench.publish(b"x" * 1000) == [stored + 1]

    async def test_a_full_stream_that_discards_old_forgets_its_first(self, bench: Bench) -> None:
        name = await bench.stream(max_bytes=10_000, discard="old")
        assert await bench.publish(*[b"x" * 1000] * 20) == list(range(1, 21))
        kept = [one.sequence for one in await bench.read()]
        assert kept == list(range(12, 21))
        assert await bench.transport.get(name, 1) is None

    async def test_a_message_larger_than_the_stream_takes_is_refused(self, bench: Bench) -> None:
        await bench.stream(max_message_bytes=1000)
        assert await bench.publish(b"x" * 1000) == [1]
        with pytest.raises(Refused):
            await bench.publish(b"x" * 1001)
        with pytest.raises(Refused):
            await bench.transport.publish(bench.subject("a"), b"x" * 990, headers={"Interlock-Kind": "counts too"})
        assert len(await bench.read()) == 1

    async def test_a_message_larger_than_the_broker_takes_is_refused(self, bench: Bench) -> None:
        await bench.stream(max_message_bytes=4 << 20)
        with pytest.raises(Refused) as caught:
            await bench.publish(b"x" * ((1 << 20) + 1))
        assert "artefact" in caught.value.mend
        assert await bench.publish(b"still connected") == [1]

    async def test_messages_age(self, bench: Bench) -> None:
        await bench.stream(max_age_ms=400, dedupe_ms=400)
        await bench.publish(b"old")
        assert len(await bench.read()) == 1
        await bench.elapse(390)
        await bench.publish(b"young")
        deadline_s = time.monotonic() + 10
        while len(left := await bench.read()) == 2:
            await bench.elapse(10)
            assert time.monotonic() < deadline_s
        assert [one.data for one in left] == [b"young"]

    async def test_history_per_subject(self, bench: Bench) -> None:
        name = await bench.stream(max_per_subject=2)
        await bench.publish(b"1", b"2", b"3")
        await bench.publish(b"other", to="b")
        assert [one.data for one in await bench.read()] == [b"2", b"3", b"other"]
        assert await bench.transport.get(name, 1) is None
        with pytest.raises(Conflict):
            await bench.transport.publish(bench.subject("a"), b"4", expected_sequence=2)


class TestUnknown:
    async def test_a_subject_that_no_stream_takes(self, bench: Bench) -> None:
        with pytest.raises(Unavailable) as caught:
            await bench.publish(b"one")
        assert caught.value.retryable

    @pytest.mark.parametrize("subject", ["", "with space", "a\r\nb"])
    async def test_what_is_no_subject(self, subject: str, bench: Bench) -> None:
        with pytest.raises(Refused):
            await bench.transport.publish(subject, b"one")
        with pytest.raises(Refused):
            await bench.transport.send(subject, b"one")

    async def test_a_stream_that_was_not_declared(self, bench: Bench) -> None:
        with pytest.raises(NotFound):
            await bench.transport.last(bench.name, bench.subject("a"))
        with pytest.raises(NotFound):
            await bench.transport.get(bench.name, 1)
        with pytest.raises(NotFound):
            await bench.read()
        with pytest.raises(NotFound):
            await anext(bench.transport.read(bench.name, [">"], follow=True))

    async def test_a_message_that_is_not_there(self, bench: Bench) -> None:
        name = await bench.stream()
        await bench.publish(b"one")
        assert await bench.transport.last(name, bench.subject("b")) is None
        assert await bench.transport.get(name, 2) is None
        assert await bench.transport.last(name, bench.subject("*")) is None


class TestDeclaring:
    def everything(self, bench: Bench) -> tuple[Declarations, Declarations]:
        stream = StreamSpec(name=bench.name, subjects=(bench.subject(">"),), max_bytes=1 << 20)
        consumer = ConsumerSpec(stream=bench.name, name="inbox", subjects=(bench.subject(">"),))
        return Declarations(streams=(stream,)), Declarations(consumers=(consumer,))

    async def test_declaring_again_keeps_messages_and_places(self, bench: Bench) -> None:
        streams, consumers = self.everything(bench)
        for _ in range(2):
            await bench.transport.declare(streams)
            await bench.transport.declare(consumers)
            await bench.publish(b"one")
        assert len(await bench.read()) == 2

    async def test_bind_only_creates_nothing(self, bench: Bench) -> None:
        streams, consumers = self.everything(bench)
        with pytest.raises(NotFound):
            await bench.transport.declare(streams, bind_only=True)
        with pytest.raises(NotFound):
            await bench.transport.get(bench.name, 1)
        await bench.transport.declare(streams)
        await bench.transport.declare(streams, bind_only=True)
        with pytest.raises(NotFound):
            await bench.transport.declare(consumers, bind_only=True)
        await bench.transport.declare(consumers)
        await bench.transport.declare(consumers, bind_only=True)

    async def test_buckets_are_bound_too(self, bench: Bench) -> None:
        for kind in ("kv", "objects"):
            bucket = Declarations(buckets=(BucketSpec(name=bench.subject(), kind=kind, max_bytes=1 << 20),))
            with pytest.raises(NotFound):
                await bench.transport.declare(bucket, bind_only=True)
            await bench.transport.declare(bucket)
            await bench.transport.declare(bucket, bind_only=True)

    async def test_two_streams_may_not_take_the_same_subject(self, bench: Bench) -> None:
        await bench.stream()
        with pytest.raises(BusError) as caught:
            other = StreamSpec(name=f"{bench.name}O", subjects=(bench.subject("*", "x"),), max_bytes=1 << 20)
            await bench.transport.declare(Declarations(streams=(other,)))
        assert isinstance(caught.value, Refused)

    @pytest.mark.parametrize(
        "settings",
        [
            {"subjects": ("{root}.>", "{root}.a")},
            {"subjects": ("{root}.>.a",)},
            {"max_age_ms": 100, "dedupe_ms": 1000},
        ],
    )
    async def test_a_stream_that_makes_no_sense_is_refused(self, settings: dict[str, Any], bench: Bench) -> None:
        if "subjects" in settings:
            settings = {"subjects": tuple(one.format(root=bench.subject()) for one in settings["subjects"])}
        with pytest.raises(Refused):
            await bench.stream(**settings)

    async def test_a_consumer_that_makes_no_sense_is_refused(self, bench: Bench) -> None:
        await bench.consumer(backoff_ms=(1, 2), max_deliver=2)
        with pytest.raises(Refused):
            await bench.consumer(backoff_ms=(1, 2, 3), max_deliver=2)
        with pytest.raises(Refused):
            await bench.consumer(subjects=(bench.subject("*"), bench.subject("a")))

    async def test_keys_may_live_shortly(self, bench: Bench) -> None:
        bucket = await bench.bucket("kv", max_age_ms=200)
        await kv_put(bench.transport, bucket, "a", b"1")
        assert await kv_get(bench.transport, bucket, "a") is not None
        deadline_s = time.monotonic() + 10
        while await kv_get(bench.transport, bucket, "a") is not None:
            await bench.elapse(20)
            assert time.monotonic() < deadline_s

    async def test_a_consumer_needs_its_stream(self, bench: Bench) -> None:
        with pytest.raises(NotFound):
            await bench.transport.declare(self.everything(bench)[1])
