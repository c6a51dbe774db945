"""Who is answered, for how long, and which goal a message asks for."""

from __future__ import annotations

from msgspec.structs import replace

from interlock.agents.intake.handed_in import goal_id_of, stored_bytes
from interlock.agents.intake.replies import MAX_WAITING, WAIT_MS, Replies, may_answer
from interlock.bus.streams import GOALS
from interlock.bus.transport import MESSAGE_ID, Message
from interlock.envelope.ids import is_uuid7, new_id
from tests.envelope.samples import id_time_ms


def test_replies_that_may_be_answered() -> None:
    assert all(map(may_answer, ("_INBOX.abc", "_INBOX_human.x.1", "my.answers", "interlockx.a")))
    refused = ("", "interlock", "interlock.a", "$SYS.x", "a..b", "a.*.b", "a.>", "a b", "a\n", ".", "x" * 257)
    assert not any(map(may_answer, refused))


def test_replies_are_bounded_in_time_and_number() -> None:
    replies = Replies()
    asked = Message("s", b"x", reply="inbox.1")
    replies.ask(asked, 0)
    assert replies.take(asked, WAIT_MS) == [], "an old wish must not be fulfilled by a new goal"
    for number in range(MAX_WAITING * 2):
        replies.ask(Message("s", b"%d" % (number % 3), reply=f"inbox.{number}"), 0)
    waiting = [
        reply
        for data in (b"0", b"1", b"2")
        for _ in range(MAX_WAITING)
        if (reply := replies.take(Message("s", data), 1))
    ]
    assert 0 < len(waiting) <= MAX_WAITING
    assert replies.take(Message("s", b"0"), 1) == []


def test_replies_are_given_in_order_and_once() -> None:
    replies = Replies()
    for number in range(3):
        assert replies.ask(Message("s", b"x", reply=f"inbox.{number}"), number) is None
    assert [replies.take(Message("s", b"x"), 5) for _ in range(4)] == [["inbox.0"], ["inbox.1"], ["inbox.2"], []]
    with_id = Message("s", b"x", {MESSAGE_ID: "1"}, reply="inbox.3")
    replies.answered(Message("s", b"x"), b"no id", 100)
    assert replies.ask(Message("s", b"x", reply="inbox.4"), 0) is None, "without an id the same bytes are two goals"
    replies.answered(with_id, b"told", 100)
    assert replies.ask(with_id, 1) == b"told"
    assert replies.ask(with_id, GOALS.dedupe_ms) is None


def test_a_goal_id_depends_on_where_the_goal_is_stored() -> None:
    message = Message("interlock.w.goal.submit", b"{}", sequence=7, stored_ms=1_763_700_000_123)
    assert is_uuid7(goal_id_of(message))
    assert goal_id_of(message) == goal_id_of(replace(message, data=b"x", delivered=5))
    assert goal_id_of(message) != goal_id_of(replace(message, sequence=8))
    assert id_time_ms(goal_id_of(message)) == message.stored_ms
    chosen = new_id(0)
    assert goal_id_of(replace(message, headers={MESSAGE_ID: chosen})) == chosen


def test_the_size_of_a_message_is_counted_as_the_broker_does() -> None:
    assert stored_bytes(Message("s", b"12345")) == 5
    assert stored_bytes(Message("s", b"12345", {"a": "b"})) == 5 + len("NATS/1.0\r\na: b\r\n\r\n")


def test_all_who_asked_for_one_id_are_answered_at_once() -> None:
    """One whose first try was a repeat to the broker asks again, and must not be one answer behind for ever."""
    replies = Replies()
    for number in range(3):
        replies.ask(Message("s", b"x", {MESSAGE_ID: "1"}, reply=f"inbox.{number}"), number * 30_000)
    assert replies.take(Message("s", b"x", {MESSAGE_ID: "1"}), 60_001) == ["inbox.1", "inbox.2"]
    assert replies.take(Message("s", b"x", {MESSAGE_ID: "1"}), 60_001) == []
