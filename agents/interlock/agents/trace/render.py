"""The tree in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from interlock.agents.trace.tree import Branch


def lines_of(roots: Sequence[Branch]) -> Iterator[str]:
    """One line a hop: number, from → to, intent and payload, age, duration, cost, mark. Control characters of what
    strangers wrote are made visible.
    """
    stack = [(branch, "", True, True) for branch in reversed(roots)]
    while stack:
        branch, indent, last, is_root = stack.pop()
        joint = "" if is_root else "└─ " if last else "├─ "
        yield f"{indent}{joint}{told(branch)}"
        deeper = "" if is_root else indent + ("   " if last else "│  ")
        children = branch.children
        stack.extend(
            (child, deeper, index == len(children) - 1, False) for index, child in reversed(list(enumerate(children)))
        )


def told(branch: Branch) -> str:
    mark = "✓" if branch.verified else f"✗ {visible(branch.reason)}"
    about = f" {visible(branch.about)}" if branch.about else ""
    cost = f" {branch.cost_usd} USD" if branch.cost_usd != "0" else ""
    return (
        f"{branch.number} {visible(branch.sender)} → {visible(branch.to)} {branch.intent} {branch.kind}{about}"
        f"  +{branch.age_ms} ms ({branch.took_ms} ms){cost} {mark}"
    )


def visible(text: str) -> str:
    """No escape sequence, line break or invisible character reaches the terminal."""
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)[:300]
