"""Consumers: at least once until answered, in bounds of time, number and concurrency."""

from __future__ import annotations

import json
from functools import partial

import anyio
import msgspec
import pytest

from interlock.bus.streams import Declarations
from interlock.bus.transport import Incoming, Message
from tests.bus.conformance.bench import WAIT_MS, Bench, Inbox

pytestmark = pytest.mark.anyio

# Timers may fire a little early by the test's clock: the broker's starts when it sends, the test's when it looks.
EARLY_MS = 30


async def test_what_is_acknowledged_comes_once_in_order(bench: Bench) -> None:
    consumer = await bench.consumer()
    sequences = await bench.publish(b"before", b"the consumer")
    inbox = Inbox()
    async with bench.transport.consume(consumer, inbox, concurrency=1):
        await bench.until(lambda: len(inbox.seen) == 2)
        sequences += await bench.publish(b"while", b"it runs")
        await bench.until(lambda: len(inbox.seen) == 4)
        await bench.elapse(WAIT_MS * 2)
    assert inbox.deliveries == [(b"before", 1), (b"the consumer", 1), (b"while", 1), (b"it runs", 1)]
    assert [one.sequence for one in inbox.seen] == sequences
    assert inbox.seen == await bench.read()


async def test_only_what_the_filter_takes(bench: Bench) -> None:
    consumer = await bench.consumer(subjects=(bench.subject("a", "*"), bench.subject("b")))
    for index, to in enumerate(("a", "a.x", "a.x.y", "b", "b.x", "c", "a.z")):
        await bench.publish(b"%d" % index, to=to)
    inbox = Inbox()
    async with bench.transport.consume(consumer, inbox, concurrency=4):
        await bench.until(lambda: len(inbox.seen) == 3)
        await bench.elapse(50)
    assert inbox.data == [b"1", b"3", b"6"]


async def test_each_consumer_has_its_own_place(bench: Bench) -> None:
    one, two = await bench.consumer(name="one"), await bench.consumer(name="two")
    await bench.publish(b"a", b"b")
    first, second = Inbox(), Inbox()
    async with (
        bench.transport.consume(one, first, concurrency=1),
        bench.transport.consume(two, second, concurrency=1),
    ):
        await bench.until(lambda: len(first.seen) == len(second.seen) == 2)
    async with bench.transport.consume(one, first, concurrency=1):
        await bench.publish(b"c")
        await bench.until(lambda: len(first.seen) == 3)
    assert (first.data, second.data) == ([b"a", b"b", b"c"], [b"a", b"b"])


async def test_headers_and_emptiness_are_kept(bench: Bench) -> None:
    """An empty message whose header looks like one of the broker's own status lines is still a message."""
    consumer = await bench.consumer()
    inbox = Inbox()
    async with bench.transport.consume(consumer, inbox, concurrency=1):
        await bench.transport.publish(bench.subject("a"), b"", headers={"Status": "404", "Interlock-Kind": "test"})
        await bench.until(lambda: len(inbox.seen) == 1)
    assert inbox.seen[0].headers == {"Status": "404", "Interlock-Kind": "test"}
    assert inbox.seen == await bench.read()


class TestAgain:
    async def test_unanswered_comes_again_after_ack_wait(self, bench: Bench) -> None:
        consumer = await bench.consumer()
        await bench.publish(b"one")
        inbox = Inbox("later")
        began_ms = bench.now_ms()  # a broker counts from when it delivered, which a busy machine hears of later
        async with bench.transport.consume(consumer, inbox, concurrency=1):
            await bench.until(lambda: len(inbox.seen) == 1)
            await bench.until_due(lambda: len(inbox.seen) == 2)
            assert bench.now_ms() - began_ms >= WAIT_MS - EARLY_MS
            await bench.until_due(lambda: len(inbox.seen) == 3)
            assert bench.now_ms() - began_ms >= 2 * WAIT_MS - EARLY_MS
            await inbox.held[-1].ack()
            await bench.elapse(WAIT_MS * 2)
        assert inbox.deliveries == [(b"one", 1), (b"one", 2), (b"one", 3)]

    async def test_it_comes_again_while_the_first_handler_still_runs(self, bench: Bench) -> None:
        consumer = await bench.consumer()
        await bench.publish(b"one")
        inbox = Inbox("hold")
        async with bench.transport.consume(consumer, inbox, concurrency=2):
            await bench.until_due(lambda: len(inbox.seen) == 2)
            assert inbox.running == 2
            await inbox.held[0].ack()  # late, and still good
            await bench.elapse(WAIT_MS * 2)
        assert inbox.deliveries == [(b"one", 1), (b"one", 2)]

    async def test_progress_starts_the_time_anew(self, bench: Bench) -> None:
        consumer = await bench.consumer()
        await bench.publish(b"one")
        inbox = Inbox("later")
        async with bench.transport.consume(consumer, inbox, concurrency=2):
            await bench.until(lambda: len(inbox.seen) == 1)
            for _ in range(12):
                await bench.elapse(WAIT_MS // 4)
                await inbox.held[0].progress()
            assert len(inbox.seen) == 1
            assert await bench.until_due(lambda: len(inbox.seen) == 2) >= WAIT_MS - EARLY_MS
            await inbox.held[-1].ack()

    @pytest.mark.parametrize("delay_ms", [0, 150])
    async def test_retry_comes_after_its_delay(self, delay_ms: int, bench: Bench) -> None:
        consumer = await bench.consumer(ack_wait_ms=60_000)
        await bench.publish(b"one")
        inbox = Inbox("later")
        async with bench.transport.consume(consumer, inbox, concurrency=1):
            await bench.until(lambda: len(inbox.seen) == 1)
            await inbox.held[0].retry(delay_ms)
            assert delay_ms - EARLY_MS <= await bench.until_due(lambda: len(inbox.seen) == 2) < 5_000
            await inbox.held[1].ack()
        assert inbox.deliveries == [(b"one", 1), (b"one", 2)]

    async def test_others_are_not_held_up_by_a_retry(self, bench: Bench) -> None:
        consumer = await bench.consumer(ack_wait_ms=60_000)
        inbox = Inbox("later")
        async with bench.transport.consume(consumer, inbox, concurrency=1):
            await bench.publish(b"one")
            await bench.until(lambda: len(inbox.seen) == 1)
            await inbox.held[0].retry(60_000)
            await bench.publish(b"two")
            await bench.until(lambda: len(inbox.seen) == 2)
        assert inbox.deliveries == [(b"one", 1), (b"two", 1)]

    async def test_what_is_acknowledged_with_confirmation_never_comes_again(self, bench: Bench) -> None:
        consumer = await bench.consumer()
        await bench.publish(b"one", b"two")
        inbox = Inbox("later")
        async with bench.transport.consume(consumer, inbox, concurrency=2):
            await bench.until(lambda: len(inbox.seen) == 2)
            for incoming in inbox.held:
                await incoming.ack_confirmed()
            await bench.elapse(WAIT_MS * 3)
        assert inbox.deliveries == [(b"one", 1), (b"two", 1)]

    async def test_terminated_never_comes_again(self, bench: Bench) -> None:
        consumer = await bench.consumer()
        await bench.publish(b"one", b"two")
        inbox = Inbox("later")
        async with bench.transport.consume(consumer, inbox, concurrency=2):
            await bench.until(lambda: len(inbox.seen) == 2)
            for incoming in inbox.held:
                await incoming.terminate("bad_signature")
            await bench.elapse(WAIT_MS * 3)
        assert inbox.deliveries == [(b"one", 1), (b"two", 1)]
        assert len(await bench.read()) == 2

    async def test_backoff_gives_each_wait_and_its_last_from_then_on(self, bench: Bench) -> None:
        consumer = await bench.consumer(backoff_ms=(100, 300), max_deliver=5, ack_wait_ms=60_000)
        await bench.publish(b"one")
        inbox = Inbox("later")
        waits = []

        def seen(number: int) -> bool:
            return len(inbox.seen) == number

        async with bench.transport.consume(consumer, inbox, concurrency=1):
            await bench.until(lambda: len(inbox.seen) == 1)
            for number in (2, 3, 4):
                waits.append(await bench.until_due(partial(seen, number)))
            await inbox.held[-1].ack()
        for measured, wanted in zip(waits, (100, 300, 300), strict=True):
            assert wanted - EARLY_MS <= measured < wanted * 3 + 200

    async def test_a_message_removed_meanwhile_does_not_come_again(self, bench: Bench) -> None:
        consumer = await bench.consumer()
        await bench.stream(max_per_subject=1)
        await bench.publish(b"one")
        inbox = Inbox("later")
        async with bench.transport.consume(consumer, inbox, concurrency=1):
            await bench.until(lambda: len(inbox.seen) == 1)
            await bench.publish(b"two")
            await bench.until_due(lambda: len(inbox.seen) >= 3)
        assert inbox.data[1:] == [b"two"] * (len(inbox.seen) - 1)


class TestDeliveriesUsedUp:
    @pytest.mark.parametrize("how", ["silence", "retry"])
    async def test_one_advisory_and_silence(self, how: str, bench: Bench) -> None:
        consumer = await bench.consumer(max_deliver=2, ack_wait_ms=150)
        advisories: list[Message] = []
        inbox = Inbox("later")

        async def on_advisory(message: Message) -> None:
            advisories.append(message)

        async def retry(incoming: Incoming) -> None:
            inbox.seen.append(incoming.message)
            await incoming.retry(20)

        subject = f"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{consumer.stream}.*"
        async with (
            bench.transport.subscribe(subject, on_advisory),
            bench.transport.consume(consumer, inbox if how == "silence" else retry, concurrency=1),
        ):
            await bench.publish(b"healthy", b"poison")
            await bench.until_due(lambda: len(advisories) == 2)
            await bench.elapse(500)
        assert sorted(inbox.deliveries) == [(b"healthy", 1), (b"healthy", 2), (b"poison", 1), (b"poison", 2)]
        assert [one.subject.rpartition(".")[2] for one in advisories] == ["inbox", "inbox"]
        told = [json.loads(one.data) for one in advisories]
        assert sorted(one["stream_seq"] for one in told) == [1, 2]
        for one in told:
            assert {"id", "timestamp"} <= set(one)
            assert one["type"] == "io.nats.jetstream.advisory.v1.max_deliver"
            assert (one["stream"], one["consumer"], one["deliveries"]) == (consumer.stream, "inbox", 2)
        assert len(await bench.read()) == 2

    async def test_an_answer_to_the_last_delivery_counts(self, bench: Bench) -> None:
        consumer = await bench.consumer(max_deliver=1, ack_wait_ms=200)
        advisories: list[Message] = []

        async def on_advisory(message: Message) -> None:
            advisories.append(message)

        inbox = Inbox()
        subject = f"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{consumer.stream}.inbox"
        async with (
            bench.transport.subscribe(subject, on_advisory),
            bench.transport.consume(consumer, inbox, concurrency=1),
        ):
            await bench.publish(b"one")
            await bench.until(lambda: len(inbox.seen) == 1)
            await bench.elapse(600)
        assert (inbox.deliveries, advisories) == ([(b"one", 1)], [])


class TestBounds:
    async def test_at_most_so_many_at_a_time(self, bench: Bench) -> None:
        consumer = await bench.consumer(ack_wait_ms=60_000)
        await bench.publish(*[b"x"] * 10)
        inbox = Inbox("hold")
        async with bench.transport.consume(consumer, inbox, concurrency=3):
            await bench.until(lambda: inbox.running == 3)
            await bench.elapse(50)
            assert (len(inbox.seen), inbox.running) == (3, 3)

    async def test_a_finished_handler_makes_room_for_the_next(self, bench: Bench) -> None:
        consumer = await bench.consumer(ack_wait_ms=60_000)
        await bench.publish(*[b"x"] * 50)
        inbox = Inbox()
        async with bench.transport.consume(consumer, inbox, concurrency=3):
            await bench.until(lambda: len(inbox.seen) == 50)
        assert 1 <= inbox.most <= 3

    async def test_max_ack_pending_bounds_what_is_unanswered(self, bench: Bench) -> None:
        consumer = await bench.consumer(max_ack_pending=2, ack_wait_ms=60_000)
        await bench.publish(b"1", b"2", b"3", b"4")
        inbox = Inbox("later")
        async with bench.transport.consume(consumer, inbox, concurrency=4):
            await bench.until(lambda: len(inbox.seen) == 2)
            await bench.elapse(50)
            assert inbox.data == [b"1", b"2"]
            await inbox.held[1].ack()
            await bench.until(lambda: len(inbox.seen) == 3)
            await inbox.held[0].terminate("enough")
            await bench.until(lambda: len(inbox.seen) == 4)

    async def test_waiting_behind_a_long_handler_uses_up_no_delivery(self, bench: Bench) -> None:
        """What a transport fetches ahead must not time out in its hands while a handler shows progress."""
        consumer = await bench.consumer()
        await bench.publish(b"long", b"two", b"three", b"four")
        inbox = Inbox("later")
        released = anyio.Event()

        async def handle(incoming: Incoming) -> None:
            await inbox(incoming)
            if incoming.message.data == b"long":
                await released.wait()
            await incoming.ack()

        async with bench.transport.consume(consumer, handle, concurrency=1):
            await bench.until(lambda: len(inbox.seen) == 1)
            for _ in range(12):
                await bench.elapse(WAIT_MS // 4)
                await inbox.held[0].progress()
            released.set()
            await bench.until_due(lambda: len(inbox.seen) >= 4)
        assert inbox.deliveries == [(b"long", 1), (b"two", 1), (b"three", 1), (b"four", 1)]


class TestLeaving:
    async def test_leaving_cancels_handlers_and_their_messages_come_again(self, bench: Bench) -> None:
        consumer = await bench.consumer()
        await bench.publish(b"one", b"two")
        inbox = Inbox("hold")
        async with bench.transport.consume(consumer, inbox, concurrency=2):
            await bench.until(lambda: inbox.running == 2)
        assert (inbox.running, inbox.cancelled) == (0, 2)
        await bench.publish(b"three")
        again = Inbox()
        async with bench.transport.consume(consumer, again, concurrency=2):
            await bench.until_due(lambda: len(again.seen) == 3)
        assert len(inbox.seen) == 2
        assert sorted(again.deliveries) == [(b"one", 2), (b"three", 1), (b"two", 2)]

    async def test_nothing_is_delivered_after_leaving(self, bench: Bench) -> None:
        consumer = await bench.consumer()
        inbox = Inbox()
        async with bench.transport.consume(consumer, inbox, concurrency=1):
            pass
        await bench.publish(b"one")
        await bench.elapse(50)
        assert inbox.seen == []

    async def test_what_the_body_raises_comes_out_as_it_is(self, bench: Bench) -> None:
        consumer = await bench.consumer()
        with pytest.raises(ZeroDivisionError):
            async with bench.transport.consume(consumer, Inbox(), concurrency=1):
                raise ZeroDivisionError

    async def test_what_a_handler_raises_is_not_swallowed(self, bench: Bench) -> None:
        consumer = await bench.consumer()
        await bench.publish(b"one")

        async def broken(incoming: Incoming) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError), anyio.fail_after(5):
            async with bench.transport.consume(consumer, broken, concurrency=1):
                await bench.elapse(5_000)
                await anyio.sleep_forever()


class TestSharing:
    async def test_instances_share_a_durable(self, bench: Bench) -> None:
        consumer = await bench.consumer()
        one, two = Inbox("later"), Inbox("later")
        async with (
            bench.connect() as other,
            bench.transport.consume(consumer, one, concurrency=2),
            other.consume(consumer, two, concurrency=2),
        ):
            await bench.elapse(50)
            answered = 0
            await bench.publish(*[b"%d" % number for number in range(20)])
            while answered < 20:
                await bench.until(lambda: len(one.held) + len(two.held) > 0)
                for inbox in (one, two):
                    while inbox.held:
                        await inbox.held.pop(0).ack()
                        answered += 1
        assert sorted(one.data + two.data) == sorted(b"%d" % number for number in range(20))
        assert one.seen
        assert two.seen

    async def test_what_one_leaves_the_other_takes_over(self, bench: Bench) -> None:
        consumer = await bench.consumer()
        await bench.publish(b"one")
        dying, living = Inbox("hold"), Inbox()
        async with bench.connect() as other, other.consume(consumer, dying, concurrency=1):
            await bench.until(lambda: len(dying.seen) == 1)
        async with bench.transport.consume(consumer, living, concurrency=1):
            await bench.until_due(lambda: len(living.seen) == 1)
        assert living.deliveries == [(b"one", 2)]

    async def test_settings_change_for_what_is_delivered_next(self, bench: Bench) -> None:
        consumer = await bench.consumer("a", max_ack_pending=1, ack_wait_ms=60_000)
        await bench.publish(b"1", b"2")
        await bench.publish(b"other", to="b")
        inbox = Inbox("later")
        async with bench.transport.consume(consumer, inbox, concurrency=4):
            await bench.until(lambda: len(inbox.seen) == 1)
            await bench.elapse(20)
            assert inbox.data == [b"1"]
            wider = await bench.consumer("*", max_ack_pending=10, ack_wait_ms=60_000)
            await bench.transport.declare(Declarations(consumers=(wider,)))
            await bench.until_due(lambda: len(inbox.seen) == 3)
        assert inbox.data == [b"1", b"2", b"other"]


async def test_a_consumer_may_be_declared_after_its_workers_came(bench: Bench) -> None:
    """Roles start while `up` makes the streams."""
    known = await bench.consumer(name="known")
    late = msgspec.structs.replace(known, name="late")
    await bench.publish(b"a")
    inbox = Inbox()
    async with bench.transport.consume(late, inbox, concurrency=1):
        await bench.elapse(50)
        assert inbox.seen == []
        await bench.transport.declare(Declarations(consumers=(late,)))
        await bench.until(lambda: inbox.data == [b"a"])
