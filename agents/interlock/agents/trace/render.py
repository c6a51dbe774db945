"""The tree in the terminal. Plain text, no colours: what is wrong is told by a mark and a reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from interlock.agents.trace.tree import Branch
from interlock.envelope.amounts import micro_usd, usd_text


def lines_of(roots: Sequence[Branch], most: int = 0) -> Iterator[str]:
    """One line a hop: number, from → to, intent and payload, age, duration, cost, mark. Control characters of what
    strangers wrote are made visible. most: of more siblings alike below one hop, as many are shown and the others
    folded into one line, unless something below them does not verify (0: all are shown).
    """
    stack: list[tuple[Branch | str, str, bool, bool]] = [(branch, "", True, True) for branch in reversed(roots)]
    while stack:
        branch, indent, last, is_root = stack.pop()
        joint = "" if is_root else "└─ " if last else "├─ "
        if isinstance(branch, str):
            yield f"{indent}{joint}{branch}"
            continue
        yield f"{indent}{joint}{told(branch)}"
        deeper = "" if is_root else indent + ("   " if last else "│  ")
        below = _folded(branch.children, most) if most else branch.children
        stack.extend(
            (child, deeper, index == len(below) - 1, False) for index, child in reversed(list(enumerate(below)))
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


def _folded(children: Sequence[Branch], most: int) -> list[Branch | str]:
    """The children in their order; the folds stand behind them."""
    shown: Counter[tuple[str, ...]] = Counter()
    folds: dict[tuple[str, ...], list[Branch]] = {}
    found: list[Branch | str] = []
    for child in children:
        kind = (child.sender, child.to, child.intent, child.kind)
        whole = _subtree(child)
        if shown[kind] < most or not all(branch.verified for branch in whole):
            shown[kind] += 1
            found.append(child)
        else:
            folds.setdefault(kind, []).extend(whole)
    for (*_, kind_told), hops in folds.items():
        cost = usd_text(sum(micro_usd(branch.cost_usd) for branch in hops))
        found.append(f"… {len(hops)} more hops: {kind_told} and below, {cost} USD ✓")
    return found


def _subtree(branch: Branch) -> list[Branch]:
    found = [branch]
    for entry in found:
        found.extend(entry.children)
    return found
