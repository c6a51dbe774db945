"""To whom a charge is put down: domain, agent, skill and model, as the goal's verified hops tell it (OPS-08). Pure.

Whatever cannot be put down stands under UNKNOWN, so that every way of dividing adds up to the same total.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import UNSET, Struct

from interlock.agents.audit.hop_graph import Hop
from interlock.agents.costs.charges import Account
from interlock.envelope.payloads import Task, TaskResult

UNKNOWN = "unknown"
NO_MODEL = "no model"
Dimension = Literal["domain", "agent", "skill", "model", "tag", "goal"]
DIMENSIONS: tuple[Dimension, ...] = ("domain", "agent", "skill", "model", "tag", "goal")
UNTAGGED = "untagged"


class Item(Struct, frozen=True, kw_only=True):
    """One charge with what it is put down to. domain: of the skill's manifest, as the executor signed it with the result.
    tag: the compliance tags of the goal's envelopes, sorted and joined by commas.
    """

    goal: str
    domain: str
    agent: str
    skill: str
    model: str
    tag: str
    usd_micro: int
    tokens: int
    at_ms: int


class Total(Struct, frozen=True, kw_only=True):
    """name: a value of the dimension; charges: how many."""

    name: str
    usd_micro: int
    tokens: int
    charges: int


def items_of(account: Account, hops: Iterable[Hop]) -> list[Item]:
    """hops: of the account's goal; what does not verify says nothing."""
    tag = UNTAGGED
    tasks: dict[str, Task] = {}
    results: dict[str, tuple[str, TaskResult]] = {}
    for hop in hops:
        envelope = hop.envelope if hop.verified else None
        if envelope is not None and tag == UNTAGGED:
            tag = ", ".join(sorted(envelope.compliance_tags)) or UNTAGGED
        match envelope.payload if envelope is not None else None:
            case Task() as ran if envelope is not None:
                tasks[envelope.id] = ran
            case TaskResult() as told if envelope is not None and envelope.parent_id is not UNSET:
                results[envelope.parent_id] = envelope.sender, told
    items = []
    for charge in account.charges:
        task = tasks.get(charge.key)
        agent, result = results.get(charge.key) or (UNKNOWN, None)
        items.append(
            Item(
                goal=account.goal_id,
                domain=UNKNOWN if result is None or result.domain is UNSET else result.domain,
                agent=agent,
                skill=UNKNOWN if task is None else task.skill,
                model=_model(result),
                tag=tag,
                usd_micro=charge.amount.usd_micro,
                tokens=charge.amount.tokens,
                at_ms=charge.at_ms,
            )
        )
    return items


def totals(items: Sequence[Item], dimension: Dimension) -> list[Total]:
    """The dearest first; their sum is that of the items."""
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(getattr(item, dimension), []).append(item)
    summed = [
        Total(
            name=name,
            usd_micro=sum(item.usd_micro for item in members),
            tokens=sum(item.tokens for item in members),
            charges=len(members),
        )
        for name, members in found.items()
    ]
    return sorted(summed, key=lambda total: (-total.usd_micro, total.name))


def _model(result: TaskResult | None) -> str:
    """What a skill that asked a model says of it; one without tokens asked none."""
    if result is None:
        return UNKNOWN
    named = result.output.get("model")
    if isinstance(named, str) and named:
        return named[:100]
    return UNKNOWN if result.usage.tokens else NO_MODEL
