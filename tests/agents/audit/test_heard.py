"""What an auditor remembers of goals under way: in order, bounded, and never taken for more than it is."""

from __future__ import annotations

from interlock.agents.audit.heard import Heard
from interlock.bus.transport import Message


def hop(goal: str, sequence: int, size: int = 10) -> Message:
    return Message(subject=f"interlock.w.role.executor.{goal}.act", data=b"x" * size, sequence=sequence)


def test_hops_of_a_goal_come_in_stream_order_up_to_a_place() -> None:
    heard = Heard()
    for sequence in (9, 3, 5, 3):
        heard.keep(hop("g", sequence))
    heard.keep(hop("other", 4))
    assert [message.sequence for message in heard.of("g", 0)] == [3, 5, 9]
    assert [message.sequence for message in heard.of("g", 5)] == [3, 5]
    assert (heard.count("g"), heard.count("other"), heard.count("unknown")) == (3, 1, 0)
    assert heard.of("unknown", 0) == []


def test_what_ended_is_forgotten() -> None:
    heard = Heard()
    heard.keep(hop("g", 1))
    heard.forget("g")
    heard.forget("g")
    assert heard.count("g") == 0


def test_the_goal_heard_of_first_makes_room() -> None:
    heard = Heard(max_bytes=25)
    for sequence, goal in enumerate(("a", "b", "a", "c"), 1):
        heard.keep(hop(goal, sequence))
    assert [heard.count(goal) for goal in "abc"] == [0, 1, 1]


def test_a_subject_of_no_goal_is_let_go() -> None:
    heard = Heard()
    heard.keep(Message(subject="interlock.w.role.executor", data=b"", sequence=1))
    heard.keep(Message(subject="x", data=b"", sequence=2))
    assert heard.of("executor", 0) == []


def test_a_goal_once_heard_whole_lacks_nothing_before_what_came_last() -> None:
    heard = Heard(max_bytes=25)
    heard.keep(hop("g", 1))
    assert (heard.is_all("g", 2), heard.is_from_its_first("g")) == (False, False)
    heard.keep(hop("g", 2))
    assert (heard.is_all("g", 2), heard.is_from_its_first("g")) == (True, True)
    heard.keep(hop("other", 3))
    assert heard.count("g") == 0, "it made room"
    heard.keep(hop("g", 4))
    assert not heard.is_from_its_first("g")
