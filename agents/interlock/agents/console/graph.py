"""The plan graph laid out for a drawing: columns by what a task waits for, straight lines, no overlaps. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from interlock.agents.console.plan_view import NodeView

MOST_NODES = 120
WIDTH, HEIGHT = 166, 46
GAP_X, GAP_Y = 34, 14
PAD = 6
NAME_LETTERS, SKILL_LETTERS = 18, 22


class Box(Struct, frozen=True):
    """A node at its place, in pixels of the drawing; name and skill cut to what fits."""

    node: NodeView
    x: int
    y: int
    name: str
    skill: str


class Line(Struct, frozen=True):
    """From the right of one box to the left of another, as the path of an SVG."""

    path: str
    standing: str


class Drawing(Struct, frozen=True):
    """hidden: how many nodes there was no room for."""

    width: int
    height: int
    boxes: list[Box]
    lines: list[Line]
    hidden: int


def drawing(nodes: Sequence[NodeView]) -> Drawing:
    """Of acyclic nodes, at most MOST_NODES of them. A line that other lines imply is left out."""
    shown = list(nodes[:MOST_NODES])
    columns = _columns(shown)
    rows: dict[int, list[NodeView]] = {}
    for node in shown:
        rows.setdefault(columns[node.id], []).append(node)
    tallest = max((len(column) for column in rows.values()), default=0)
    boxes: dict[str, Box] = {}
    for column, members in sorted(rows.items()):
        members.sort(key=lambda node: _middle(node, boxes))
        top = PAD + (tallest - len(members)) * (HEIGHT + GAP_Y) // 2
        for row, node in enumerate(members):
            x, y = PAD + column * (WIDTH + GAP_X), top + row * (HEIGHT + GAP_Y)
            boxes[node.id] = Box(node, x, y, _cut(node.id, NAME_LETTERS), _cut(node.skill, SKILL_LETTERS))
    before = _all_before(boxes)
    lines = [
        Line(_path(boxes[name], boxes[node.id]), boxes[name].node.standing)
        for node in shown
        for name in _needed(node, boxes, before)
    ]
    width = max((box.x for box in boxes.values()), default=-WIDTH) + WIDTH + PAD
    return Drawing(
        width, 2 * PAD + tallest * (HEIGHT + GAP_Y) - GAP_Y, list(boxes.values()), lines, len(nodes) - len(shown)
    )


def _columns(nodes: Sequence[NodeView]) -> dict[str, int]:
    """The longest way to each node, by rounds: there are no more of them than nodes, whatever the graph."""
    columns = {node.id: 0 for node in nodes}
    for _ in nodes:
        moved = False
        for node in nodes:
            least = max((columns[before] + 1 for before in node.after if before in columns), default=0)
            if least > columns[node.id] and least < len(nodes):
                columns[node.id], moved = least, True
        if not moved:
            break
    return columns


def _needed(node: NodeView, boxes: dict[str, Box], before: dict[str, set[str]]) -> list[str]:
    """Predecessors that no other predecessor waits for."""
    direct = [name for name in dict.fromkeys(node.after) if name in boxes and name != node.id]
    implied = {earlier for name in direct for earlier in before[name]}
    return [name for name in direct if name not in implied]


def _all_before(boxes: dict[str, Box]) -> dict[str, set[str]]:
    """What each box waits for, at first or second hand. boxes: in the order of their columns."""
    found: dict[str, set[str]] = {}
    for name, box in boxes.items():
        direct = [earlier for earlier in box.node.after if earlier in boxes]
        found[name] = {*direct, *(far for earlier in direct for far in found.get(earlier, ()))}
    return found


def _middle(node: NodeView, boxes: dict[str, Box]) -> float:
    """How high those stand that it waits for, so that lines cross less."""
    heights = [boxes[before].y for before in node.after if before in boxes]
    return sum(heights) / len(heights) if heights else 0.0


def _path(start: Box, end: Box) -> str:
    x1, y1 = start.x + WIDTH, start.y + HEIGHT // 2
    x2, y2 = end.x, end.y + HEIGHT // 2
    bend = max(GAP_X // 2, (x2 - x1) // 2)
    return f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"
