"""Reading back: in order, filtered, from a place or a time, to the end or on and on; keys and objects on top of it."""

from __future__ import annotations

import os
from contextlib import aclosing

import anyio
import pytest

from interlock.bus.errors import Conflict, NotFound, StoreFull
from interlock.bus.kv import Entry, kv_entries, kv_get, kv_put
from interlock.bus.streams import kv_stream, kv_subject
from interlock.bus.transport import ObjectInfo
from tests.bus.conformance.bench import Bench

pytestmark = pytest.mark.anyio


class TestRead:
    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ((">",), b"012345"),
            (("a",), b"05"),
            (("a.*",), b"1"),
            (("a.>",), b"12"),
            (("*.x",), b"14"),
            (("a", "b"), b"035"),
            (("a.x.y", "b.*"), b"24"),
            (("c",), b""),
        ],
    )
    async def test_filters(self, filters: tuple[str, ...], expected: bytes, bench: Bench) -> None:
        await bench.stream()
        for index, to in enumerate(("a", "a.x", "a.x.y", "b", "b.x", "a")):
            await bench.publish(b"%d" % index, to=to)
        assert b"".join(one.data for one in await bench.read(*filters)) == expected

    async def test_an_empty_stream_ends_at_once(self, bench: Bench) -> None:
        await bench.stream()
        assert await bench.read() == []

    @pytest.mark.parametrize(("start", "first"), [(0, 1), (1, 1), (4, 4), (10, 10), (11, None), (99, None)])
    async def test_from_a_sequence(self, start: int, first: int | None, bench: Bench) -> None:
        await bench.stream()
        await bench.publish(*[b"x"] * 10)
        sequences = [one.sequence for one in await bench.read(from_sequence=start)]
        assert sequences == (list(range(first, 11)) if first else [])

    async def test_from_a_time(self, bench: Bench) -> None:
        await bench.stream()
        await bench.publish(b"1", b"2")
        await bench.elapse(30)
        middle_ms = bench.transport.clock.now_ms()
        await bench.elapse(30)
        await bench.publish(b"3", b"4")
        await bench.elapse(30)
        assert [one.data for one in await bench.read(from_ms=middle_ms)] == [b"3", b"4"]
        assert [one.data for one in await bench.read(from_ms=0)] == [b"1", b"2", b"3", b"4"]
        assert await bench.read(from_ms=bench.transport.clock.now_ms() + 60_000) == []

    async def test_more_than_one_batch(self, bench: Bench) -> None:
        await bench.stream()
        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(lambda: bench.publish(*[b"x" * 100] * 25))
        assert [one.sequence for one in await bench.read()] == list(range(1, 1251))

    async def test_what_comes_later_is_not_part_of_it(self, bench: Bench) -> None:
        await bench.stream()
        await bench.publish(*[b"x"] * 5)
        seen = []
        async with aclosing(bench.transport.read(bench.name, [bench.subject(">")])) as messages:
            async for message in messages:
                seen.append(message.sequence)
                await bench.publish(b"later")
        assert seen == [1, 2, 3, 4, 5]

    async def test_follow_goes_on(self, bench: Bench) -> None:
        await bench.stream()
        await bench.publish(b"1", b"2")
        seen: list[bytes] = []

        async def follow() -> None:
            async with aclosing(
                bench.transport.read(bench.name, [bench.subject("a")], from_sequence=2, follow=True)
            ) as messages:
                async for message in messages:
                    seen.append(message.data)
                    if message.data == b"last":
                        return

        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            await bench.until(lambda: seen == [b"2"])
            await bench.publish(b"other", to="b")
            await bench.elapse(20)
            await bench.publish(*[b"%d" % number for number in range(3, 30)])
            await bench.until(lambda: len(seen) == 28)
            await bench.publish(b"last")
        assert seen == [b"%d" % number for number in range(2, 30)] + [b"last"]

    async def test_a_follower_can_be_cancelled_while_it_waits(self, bench: Bench) -> None:
        await bench.stream()
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: anext(bench.transport.read(bench.name, [bench.subject(">")], follow=True)))
            await bench.elapse(20)
            group.cancel_scope.cancel()
        assert await bench.publish(b"still works") == [1]


class TestKeys:
    async def test_values_and_revisions(self, bench: Bench) -> None:
        bucket, transport = await bench.bucket("kv"), bench.transport
        assert await kv_get(transport, bucket, "a.b") is None
        first = await kv_put(transport, bucket, "a.b", b"1", revision=0)
        with pytest.raises(Conflict):
            await kv_put(transport, bucket, "a.b", b"2", revision=0)
        await kv_put(transport, bucket, "other", b"x")
        second = await kv_put(transport, bucket, "a.b", b"2", revision=first)
        with pytest.raises(Conflict):
            await kv_put(transport, bucket, "a.b", b"3", revision=first)
        entry = await kv_get(transport, bucket, "a.b")
        assert entry is not None
        assert entry == Entry("a.b", b"2", second, entry.stored_ms)
        assert await kv_put(transport, bucket, "a.b", b"") > second
        empty = await kv_get(transport, bucket, "a.b")
        assert empty is not None
        assert empty.value == b""

    async def test_history_is_as_deep_as_declared(self, bench: Bench) -> None:
        bucket, transport = await bench.bucket("kv", history=3), bench.transport
        for number in range(5):
            await kv_put(transport, bucket, "a", b"%d" % number)
            await kv_put(transport, bucket, "b", b"%d" % number)
        history = [one async for one in transport.read(kv_stream(bucket), [kv_subject(bucket, "a")])]
        assert [one.data for one in history] == [b"2", b"3", b"4"]

    async def test_entries_under_a_prefix(self, bench: Bench) -> None:
        bucket, transport = await bench.bucket("kv"), bench.transport
        for key in ("a.1", "b.1", "a.2", "a.1"):
            await kv_put(transport, bucket, key, key.encode())
        await transport.publish(kv_subject(bucket, "a.2"), b"", headers={"KV-Operation": "DEL"})
        assert [one.key async for one in kv_entries(transport, bucket)] == ["b.1", "a.1"]
        assert [one.key async for one in kv_entries(transport, bucket, "a")] == ["a.1"]
        assert await kv_get(transport, bucket, "a.2") is None
        assert [one.key async for one in kv_entries(transport, bucket, "none")] == []

    async def test_entries_can_be_followed(self, bench: Bench) -> None:
        bucket, transport = await bench.bucket("kv"), bench.transport
        seen: list[str] = []
        await kv_put(transport, bucket, "a", b"1")

        async def follow() -> None:
            async with aclosing(kv_entries(transport, bucket, follow=True)) as entries:
                async for entry in entries:
                    seen.append(f"{entry.key}={entry.value.decode()}")
                    if len(seen) == 3:
                        return

        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            await bench.until(lambda: len(seen) == 1)
            await kv_put(transport, bucket, "b", b"2")
            await kv_put(transport, bucket, "a", b"3")
        assert seen == ["a=1", "b=2", "a=3"]

    async def test_a_bucket_that_was_not_declared(self, bench: Bench) -> None:
        with pytest.raises(NotFound):
            await kv_get(bench.transport, bench.subject(), "a")


class TestObjects:
    @pytest.mark.parametrize("size", [0, 1, 300 * 1024, 5 << 20])
    async def test_any_size_comes_back(self, size: int, bench: Bench) -> None:
        bucket, content = await bench.bucket("objects"), os.urandom(size)
        for _ in range(2):  # the same name with the same content may be stored twice
            await bench.transport.put_object(bucket, "sha256.abc", content)
        assert await bench.transport.get_object(bucket, "sha256.abc") == content
        assert await bench.transport.list_objects(bucket) == [ObjectInfo("sha256.abc", size)]

    async def test_the_last_content_of_a_name_counts_also_when_it_was_there_before(self, bench: Bench) -> None:
        bucket = await bench.bucket("objects")
        for content in (b"one", b"two", b"one", b"one"):
            await bench.transport.put_object(bucket, "name", content)
            assert await bench.transport.get_object(bucket, "name") == content
        assert await bench.transport.list_objects(bucket) == [ObjectInfo("name", 3)]

    async def test_list_names_all(self, bench: Bench) -> None:
        bucket = await bench.bucket("objects")
        assert await bench.transport.list_objects(bucket) == []
        for name in ("one", "two words/and more", "drei-ü"):
            await bench.transport.put_object(bucket, name, name.encode())
        listed = await bench.transport.list_objects(bucket)
        assert sorted(one.name for one in listed) == ["drei-ü", "one", "two words/and more"]
        assert await bench.transport.get_object(bucket, "two words/and more") == b"two words/and more"

    async def test_what_is_not_there(self, bench: Bench) -> None:
        with pytest.raises(NotFound):
            await bench.transport.get_object(bench.subject(), "one")
        with pytest.raises(NotFound):
            await bench.transport.put_object(bench.subject(), "one", b"")
        with pytest.raises(NotFound):
            await bench.transport.list_objects(bench.subject())
        bucket = await bench.bucket("objects")
        with pytest.raises(NotFound):
            await bench.transport.get_object(bucket, "one")

    async def test_a_full_store_refuses_and_keeps_what_it_has(self, bench: Bench) -> None:
        bucket = await bench.bucket("objects", max_bytes=400_000)
        await bench.transport.put_object(bucket, "first", b"1" * 200_000)
        with pytest.raises(StoreFull):
            await bench.transport.put_object(bucket, "second", b"2" * 300_000)
        assert await bench.transport.get_object(bucket, "first") == b"1" * 200_000
        with pytest.raises(NotFound):
            await bench.transport.get_object(bucket, "second")


class TestAfter:
    """What the control lease stands on."""

    async def test_the_first_from_a_place_that_a_filter_takes(self, bench: Bench) -> None:
        await bench.stream()
        for index, to in enumerate(("a", "b.x", "a", "b.y")):
            await bench.transport.publish(bench.subject(to), b"%d" % index, headers={"Kind": "odd : one"})

        async def after(to: str, sequence: int) -> bytes | None:
            found = await bench.transport.after(bench.name, bench.subject(to), sequence)
            return None if found is None else found.data

        assert [await after("a", n) for n in range(5)] == [b"0", b"0", b"2", b"2", None]
        assert [await after("b.*", n) for n in range(1, 6)] == [b"1", b"1", b"3", b"3", None]
        assert [await after(">", n) for n in (4, 5, 99)] == [b"3", None, None]
        assert await after("c", 1) is None
        found = await bench.transport.after(bench.name, bench.subject("b.>"), 1)
        assert found is not None
        assert (found.subject, found.sequence, found.headers["Kind"]) == (bench.subject("b.x"), 2, "odd : one")
        assert abs(found.stored_ms - bench.transport.clock.now_ms()) < 60_000

    async def test_an_empty_stream_has_none_and_a_missing_one_is_told(self, bench: Bench) -> None:
        name = await bench.stream()
        assert await bench.transport.after(name, bench.subject(">"), 1) is None
        with pytest.raises(NotFound):
            await bench.transport.after("NONE", "none", 1)
