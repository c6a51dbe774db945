"""Plain messages: to whoever listens now, one answer to a request, one of a group."""

from __future__ import annotations

import json

import anyio
import pytest

from interlock.bus.errors import Refused, Unavailable
from interlock.bus.transport import Message
from tests.bus.conformance.bench import Bench

pytestmark = pytest.mark.anyio


class Listener:
    def __init__(self) -> None:
        self.heard: list[Message] = []

    async def __call__(self, message: Message) -> None:
        self.heard.append(message)

    @property
    def data(self) -> list[bytes]:
        return [message.data for message in self.heard]


async def test_a_message_reaches_every_listener_in_order(bench: Bench) -> None:
    one, two = Listener(), Listener()
    async with (
        bench.connect() as other,
        bench.transport.subscribe(bench.subject("a"), one),
        other.subscribe(bench.subject("*"), two),
    ):
        for number in range(20):
            await bench.transport.send(
                bench.subject("a"), b"%d" % number, headers={"Interlock-Kind": "test"}, reply="r"
            )
        await bench.until(lambda: len(one.heard) == len(two.heard) == 20)
    assert one.data == two.data == [b"%d" % number for number in range(20)]
    heard = one.heard[0]
    assert (heard.subject, dict(heard.headers)) == (bench.subject("a"), {"Interlock-Kind": "test"})
    assert (heard.reply, heard.sequence) == ("r", 0)


@pytest.mark.parametrize(
    ("wanted", "heard"),
    [("a", "0"), ("*", "03"), ("a.*", "1"), ("a.>", "12"), (">", "0123"), ("*.x", "1"), ("*.*.y", "2"), ("*.>", "12")],
)
async def test_wildcards(wanted: str, heard: str, bench: Bench) -> None:
    listener, all_of_it = Listener(), Listener()
    async with (
        bench.transport.subscribe(bench.subject(wanted), listener),
        bench.transport.subscribe(bench.subject(">"), all_of_it),
    ):
        for index, to in enumerate(("a", "a.x", "a.x.y", "b")):
            await bench.transport.send(bench.subject(to), b"%d" % index)
        await bench.until(lambda: len(all_of_it.heard) == 4)
    assert b"".join(listener.data).decode() == heard


async def test_nobody_hears_before_or_after(bench: Bench) -> None:
    listener = Listener()
    await bench.transport.send(bench.subject("a"), b"before")
    async with bench.transport.subscribe(bench.subject("a"), listener):
        await bench.transport.send(bench.subject("a"), b"while")
        await bench.until(lambda: len(listener.heard) == 1)
    await bench.transport.send(bench.subject("a"), b"after")
    await bench.elapse(20)
    assert listener.data == [b"while"]


async def test_one_of_a_group_hears_each(bench: Bench) -> None:
    one, two, alone, elsewhere = Listener(), Listener(), Listener(), Listener()
    subject = bench.subject("a")
    async with (
        bench.connect() as other,
        bench.transport.subscribe(subject, one, group="g"),
        other.subscribe(subject, two, group="g"),
        bench.transport.subscribe(subject, alone),
        bench.transport.subscribe(subject, elsewhere, group="h"),
    ):
        for number in range(60):
            await bench.transport.send(subject, b"%02d" % number)
        await bench.until(lambda: len(one.heard) + len(two.heard) == len(alone.heard) == len(elsewhere.heard) == 60)
        await bench.elapse(20)
    assert sorted(one.data + two.data) == [b"%02d" % number for number in range(60)]
    assert one.heard
    assert two.heard


class TestRequests:
    async def test_the_first_answer_counts(self, bench: Bench) -> None:
        async with bench.connect() as other:

            async def answer(message: Message) -> None:
                await other.send(message.reply, message.data + b"!", headers={"Interlock-Kind": "answer"})
                await other.send(message.reply, b"too late")

            async with other.subscribe(bench.subject("ask"), answer):
                for number in range(3):
                    said = await bench.transport.request(bench.subject("ask"), b"%d" % number, timeout_ms=5_000)
                    assert (said.data, dict(said.headers)) == (b"%d!" % number, {"Interlock-Kind": "answer"})

    async def test_many_at_once_each_get_their_own(self, bench: Bench) -> None:
        async def answer(message: Message) -> None:
            await bench.transport.send(message.reply, message.data)

        answers: dict[bytes, bytes] = {}

        async def ask(data: bytes) -> None:
            answers[data] = (await bench.transport.request(bench.subject("ask"), data, timeout_ms=5_000)).data

        async with bench.transport.subscribe(bench.subject("ask"), answer), anyio.create_task_group() as group:
            for number in range(30):
                group.start_soon(ask, b"%d" % number)
        assert len(answers) == 30
        assert all(asked == answered for asked, answered in answers.items())

    async def test_nobody_listens(self, bench: Bench) -> None:
        start_ms = bench.now_ms()
        with pytest.raises(Unavailable) as caught:
            await bench.transport.request(bench.subject("ask"), b"", timeout_ms=5_000)
        assert caught.value.retryable
        assert bench.now_ms() - start_ms < 2_000

    async def test_nobody_answers_in_time(self, bench: Bench) -> None:
        failed: list[float] = []

        async def ask() -> None:
            with pytest.raises(Unavailable):
                await bench.transport.request(bench.subject("ask"), b"", timeout_ms=200)
            failed.append(bench.now_ms())

        async with (
            bench.transport.subscribe(bench.subject("ask"), Listener()),
            anyio.create_task_group() as group,
        ):
            start_ms = bench.now_ms()
            group.start_soon(ask)
            await bench.until_due(lambda: bool(failed))
        assert 190 <= failed[0] - start_ms < 3_000

    async def test_what_is_too_large_is_refused(self, bench: Bench) -> None:
        with pytest.raises(Refused):
            await bench.transport.send(bench.subject("a"), b"x" * ((1 << 20) + 1))
        with pytest.raises(Refused):
            await bench.transport.request(bench.subject("a"), b"x" * ((1 << 20) + 1), timeout_ms=1_000)


class TestStreamsListenToo:
    async def test_a_plain_message_on_a_streams_subject_is_stored(self, bench: Bench) -> None:
        await bench.stream()
        await bench.transport.send(bench.subject("a"), b"plain")
        await bench.publish(b"published")
        assert [one.data for one in await bench.read()] == [b"plain", b"published"]

    async def test_a_listener_hears_what_is_published(self, bench: Bench) -> None:
        await bench.stream()
        listener = Listener()
        async with bench.transport.subscribe(bench.subject(">"), listener):
            await bench.publish(b"one")
            await bench.until(lambda: len(listener.heard) == 1)
        assert listener.data == [b"one"]

    async def test_a_stream_answers_a_request(self, bench: Bench) -> None:
        await bench.stream(max_message_bytes=10)
        answer = await bench.transport.request(bench.subject("a"), b"one", timeout_ms=5_000)
        assert json.loads(answer.data) == {"stream": bench.name, "seq": 1}
        refused = await bench.transport.request(bench.subject("a"), b"x" * 11, timeout_ms=5_000)
        assert json.loads(refused.data)["error"]["code"] == 400

    async def test_unless_it_is_told_not_to(self, bench: Bench) -> None:
        await bench.stream(no_ack=True)

        async def answer(message: Message) -> None:
            await bench.transport.send(message.reply, b"from the handler")

        async with bench.transport.subscribe(bench.subject("a"), answer):
            said = await bench.transport.request(bench.subject("a"), b"one", timeout_ms=5_000)
        assert said.data == b"from the handler"
        assert [one.data for one in await bench.read()] == [b"one"]
        with pytest.raises(Unavailable) as caught:
            await bench.publish(b"two")
        assert caught.value.may_have_happened
        assert [one.data for one in await bench.read()] == [b"one", b"two"]
