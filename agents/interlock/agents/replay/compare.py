"""Decisions compared: equal, or where they part and what both sides say. Pure."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, field

from interlock.envelope.model import Envelope

Kind = Literal["gate", "policy", "plan", "event", "review", "verification", "child", "ledger"]
_ABSENT = object()


class Divergence(Struct, frozen=True, rename="camel", kw_only=True):
    """sequence: of the hop that was decided on. path: the first place where the two sides differ."""

    sequence: int
    hop: str
    kind: Kind
    what: str
    path: str
    recorded: Any
    now: Any


class ReplayReport(Struct, rename="camel", kw_only=True):
    """unanswered: decisions of today for which nothing was recorded because the goal was over or is not yet."""

    goal_id: str
    hops: int
    decisions: int = 0
    equal: int = 0
    unanswered: int = 0
    divergences: list[Divergence] = field(default_factory=list)

    @property
    def first(self) -> Divergence | None:
        return min(self.divergences, key=lambda found: found.sequence, default=None)

    def compared(self, divergence: Divergence | None) -> None:
        self.decisions += 1
        if divergence is None:
            self.equal += 1
        else:
            self.divergences.append(divergence)


def essence(envelope: Envelope) -> tuple[Envelope, list[dict[str, Any]]]:
    """What was decided, without what only the holder of a key can make again: (envelope without key, signature and
    attestations; the statements of its attestations).
    """
    bare = msgspec.structs.replace(envelope, key_id="", signature=UNSET, attestations=[])
    return bare, [attestation.statement for attestation in envelope.attestations]


def is_decided_alike(recorded: Envelope, now: Envelope) -> bool:
    """Whether their essence is the same."""
    said, says = recorded.attestations, now.attestations
    if len(said) != len(says) or any(one.statement != other.statement for one, other in zip(said, says, strict=True)):
        return False
    unsigned = msgspec.structs.replace
    return recorded == unsigned(now, key_id=recorded.key_id, signature=recorded.signature, attestations=said)


def first_difference_of(recorded: Envelope, now: Envelope) -> tuple[str, Any, Any]:
    """As first_difference, of what is decided."""
    (left, said), (right, says) = essence(recorded), essence(now)
    if left != right:
        return first_difference(left, right)
    return _difference(said, says, "$.attestations") or ("", None, None)


def first_difference(recorded: Any, now: Any) -> tuple[str, Any, Any]:
    """(path, recorded, now) of the first difference, in the order of keys; ("", None, None) if there is none."""
    return _difference(msgspec.to_builtins(recorded), msgspec.to_builtins(now), "$") or ("", None, None)


def _difference(left: Any, right: Any, path: str) -> tuple[str, Any, Any] | None:
    if type(left) is not type(right):
        return path, left, right
    if isinstance(left, dict):
        for key in sorted(left.keys() | right.keys()):
            one, other = left.get(key, _ABSENT), right.get(key, _ABSENT)
            if one is _ABSENT or other is _ABSENT:
                return f"{path}.{key}", _told(one), _told(other)
            found = _difference(one, other, f"{path}.{key}")
            if found:
                return found
        return None
    if isinstance(left, list):
        for index in range(max(len(left), len(right))):
            one = left[index] if index < len(left) else _ABSENT
            other = right[index] if index < len(right) else _ABSENT
            if one is _ABSENT or other is _ABSENT:
                return f"{path}[{index}]", _told(one), _told(other)
            found = _difference(one, other, f"{path}[{index}]")
            if found:
                return found
        return None
    return None if left == right else (path, left, right)


def _told(value: Any) -> Any:
    return "(absent)" if value is _ABSENT else value
