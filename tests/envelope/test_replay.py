"""The replay memory against a naive model, its bound, its forgetting."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from interlock.envelope.replay import ReplayMemory

STEPS = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 4), st.integers(1, 6), st.integers(0, 3)), max_size=40
)


@given(STEPS, st.integers(1, 6))
def test_nothing_alive_is_admitted_at_two_places(steps: list[tuple[str, int, int, int]], capacity: int) -> None:
    """steps: message, sequence, life left, time that passes. Whatever was admitted stays bound to its place while alive."""
    memory, now = ReplayMemory(capacity), 0
    admitted: dict[str, tuple[int, int]] = {}
    for message, sequence, life, passed in steps:
        now += passed
        if message in admitted and admitted[message][1] < now:
            continue  # dead: its freshness has refused it before the memory is asked
        alive = {name: (place, end) for name, (place, end) in admitted.items() if end >= now}
        answer = memory.admit(message, sequence, now + life, now)
        if message in alive:
            assert answer == (alive[message][0] == sequence > 0)
        else:
            assert answer == (len(alive) < capacity), "a full memory refuses; what is dead makes room"
            if answer:
                admitted[message] = (sequence, now + life)
        assert len(memory) <= capacity


def test_a_redelivery_is_no_replay() -> None:
    memory = ReplayMemory()
    assert [memory.admit("a", sequence, 100, 0) for sequence in (7, 7, 8, 7)] == [True, True, False, True]


def test_without_a_place_a_message_comes_once() -> None:
    memory = ReplayMemory()
    assert [memory.admit("a", 0, 100, 0) for _ in range(2)] == [True, False]


def test_a_full_memory_refuses_rather_than_forgets() -> None:
    memory = ReplayMemory(capacity=2)
    assert memory.admit("a", 1, 10, 0)
    assert memory.admit("b", 2, 20, 0)
    assert not memory.admit("c", 3, 30, 0)
    assert memory.admit("a", 1, 10, 5), "redeliveries need no room"
    assert not memory.admit("c", 3, 30, 10), "alive to its last millisecond"
    assert memory.admit("c", 3, 30, 11)
    assert not memory.admit("b", 9, 20, 11)


def test_room_comes_back_however_many_came() -> None:
    memory = ReplayMemory(capacity=100)
    assert all(memory.admit(str(number), number + 1, number + 50, number) for number in range(10_000))
    assert len(memory) <= 52
