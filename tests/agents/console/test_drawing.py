"""The plan as its hops tell it, and its drawing."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.agents.console.graph import GAP_X, HEIGHT, MOST_NODES, WIDTH, drawing
from interlock.agents.console.plan_view import NodeView, plan_view

NAMES = st.integers(0, 30).map(lambda n: f"t{n}")


def node(name: str, *after: str) -> NodeView:
    return NodeView(id=name, skill="s" * 60, after=after, standing="waiting", count=1, done=0)


@settings(max_examples=80)
@given(st.dictionaries(NAMES, st.lists(NAMES, max_size=4), max_size=30))
def test_no_boxes_overlap_whatever_waits_for_what(graph: dict[str, list[str]]) -> None:
    """Also where the graph has cycles or names what is not there: plans are checked elsewhere."""
    made = drawing([node(name, *after) for name, after in graph.items()])
    assert len(made.boxes) == len(graph)
    for index, box in enumerate(made.boxes):
        assert 0 <= box.x <= made.width - WIDTH
        assert 0 <= box.y <= made.height - HEIGHT
        for other in made.boxes[:index]:
            assert abs(box.x - other.x) >= WIDTH or abs(box.y - other.y) >= HEIGHT


@settings(max_examples=80)
@given(st.integers(1, 40).flatmap(lambda n: st.tuples(*(st.sets(st.integers(0, max(0, i - 1))) for i in range(n)))))
def test_arrows_go_to_the_right_and_say_all_that_is_waited_for(before: tuple[set[int], ...]) -> None:
    nodes = [node(f"t{i}", *(f"t{j}" for j in waits if j < i)) for i, waits in enumerate(before)]
    made = drawing(nodes)
    x = {box.node.id: box.x for box in made.boxes}
    assert all(x[one.id] >= x[name] + WIDTH + GAP_X for one in nodes for name in one.after)
    assert len(made.lines) <= sum(len(one.after) for one in nodes)
    assert all(bool(one.after) <= bool(made.lines) for one in nodes)


def test_a_line_that_others_imply_is_left_out() -> None:
    assert len(drawing([node("a"), node("b", "a"), node("c", "a", "b")]).lines) == 2


def test_what_there_is_no_room_for_is_counted() -> None:
    made = drawing([node(f"t{number}") for number in range(MOST_NODES + 7)])
    assert (len(made.boxes), made.hidden) == (MOST_NODES, 7)
    assert max(len(box.skill) for box in made.boxes) < 30


def test_nothing_is_drawn_of_nothing() -> None:
    assert plan_view([]).nodes == []
    assert drawing([]).boxes == []
