"""Deviations as a fold over events (GOV-10). Pure; times are UTC ms and handed in.

A deviation opens when it is detected and its clock runs from then: it is acted upon at once, told within five minutes,
told again every thirty while it is open, escalated when its deadline passes, and closed by a human alone. One deviation
of a kind and subject is open at a time; what was seen while it was open does not open another one.
"""

from __future__ import annotations

from typing import Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from interlock.envelope.amounts import Timestamp, time_ms, timestamp
from interlock.envelope.ids import sha256_hex

Kind = Literal["signature_failure", "cost_breach", "compliance_failure", "determinism"]
Step = Literal["opened", "acted", "alerted", "status", "escalated", "resolved"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DEADLINE_MS: dict[Kind, int] = {
    "signature_failure": HOUR_MS,
    "cost_breach": 2 * HOUR_MS,
    "compliance_failure": 4 * HOUR_MS,
    "determinism": 24 * HOUR_MS,
}
ALERT_WITHIN_MS = 5 * MINUTE_MS
STATUS_EVERY_MS = 30 * MINUTE_MS
MAX_DETAIL = 1_000


class Detection(Struct, frozen=True, kw_only=True):
    """Something that should not be. about: `workspace`, `role:R` or `goal:ID`; halts: the scope to halt, empty for none;
    evidence: where it is to be seen, `STREAM:sequence`; seen_ms: when that was stored.
    """

    kind: Kind
    about: str
    halts: str
    evidence: str
    detail: str
    seen_ms: int


class Event(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """One step of a deviation, as stored on `audit.deviation`. What follows `by` is set by `opened` alone, but detail,
    which says of every step what was done. evidence of `resolved`: where the human's word for it is.
    """

    id: str
    step: Step
    at: Timestamp
    detail: str = ""
    evidence: str = ""
    by: str = ""
    kind: Kind | None = None
    about: str = ""
    halts: str = ""


class Deviation(Struct, frozen=True, kw_only=True):
    """Times in UTC ms, 0: not yet."""

    id: str
    kind: Kind
    about: str
    halts: str
    detail: str
    evidence: str
    opened_ms: int
    acted_ms: int = 0
    alerted_ms: int = 0
    status_ms: int = 0
    escalated_ms: int = 0
    resolved_ms: int = 0
    by: str = ""
    why: str = ""

    @property
    def deadline_ms(self) -> int:
        return self.opened_ms + DEADLINE_MS[self.kind]

    @property
    def is_open(self) -> bool:
        return self.resolved_ms == 0


State = dict[str, Deviation]


def fold(state: State, event: Event) -> State:
    """The state after an event. What does not fit (an unknown deviation, a second opening, a closed one) changes nothing."""
    at_ms = time_ms(event.at)
    known = state.get(event.id)
    if event.step == "opened":
        if known is not None or event.kind is None:
            return state
        opened = Deviation(
            id=event.id,
            kind=event.kind,
            about=event.about,
            halts=event.halts,
            detail=event.detail,
            evidence=event.evidence,
            opened_ms=at_ms,
        )
        return {**state, event.id: opened}
    if known is None or not known.is_open:
        return state
    if event.step == "acted":
        changed = replace(known, acted_ms=at_ms)
    elif event.step == "alerted":
        changed = replace(known, alerted_ms=at_ms, status_ms=at_ms)
    elif event.step == "status":
        changed = replace(known, status_ms=at_ms)
    elif event.step == "escalated":
        changed = replace(known, escalated_ms=at_ms)
    else:
        changed = replace(known, resolved_ms=at_ms, by=event.by, why=event.detail)
    return {**state, event.id: changed}


def detected(state: State, detection: Detection, now_ms: int) -> Event | None:
    """The opening that a detection gives cause for, if any. What was seen before the last one of its kind and subject was
    resolved is what was resolved; a budget that was overrun stays so, and is told once.
    """
    alike = [one for one in state.values() if (one.kind, one.about) == (detection.kind, detection.about)]
    if any(one.is_open or detection.seen_ms <= one.resolved_ms for one in alike):
        return None
    if alike and detection.kind == "cost_breach":
        return None
    named = f"{detection.kind}\n{detection.about}\n{detection.evidence}"
    opened = Event(
        id=f"d-{sha256_hex(named.encode())[:12]}",
        step="opened",
        at=timestamp(now_ms),
        detail=detection.detail[:MAX_DETAIL],
        evidence=detection.evidence,
        kind=detection.kind,
        about=detection.about,
        halts=detection.halts,
    )
    return None if opened.id in state else opened


def due(state: State, now_ms: int) -> list[Event]:
    """What is to be done now, in order. `acted` is to be stored only once it is true."""
    events: list[Event] = []
    at = timestamp(now_ms)
    for one in state.values():
        if not one.is_open:
            continue
        if not one.acted_ms:
            events.append(Event(id=one.id, step="acted", at=at, detail=action(one)))
        if not one.alerted_ms:
            events.append(Event(id=one.id, step="alerted", at=at, detail=standing(one, now_ms)))
        elif now_ms - one.status_ms >= STATUS_EVERY_MS:
            events.append(Event(id=one.id, step="status", at=at, detail=standing(one, now_ms)))
        if now_ms >= one.deadline_ms and not one.escalated_ms:
            events.append(Event(id=one.id, step="escalated", at=at, detail=standing(one, now_ms)))
    return events


def resolved(state: State, name: str, by: str, why: str, evidence: str, at_ms: int) -> Event | None:
    """None for what is not open."""
    known = state.get(name)
    if known is None or not known.is_open:
        return None
    return Event(id=name, step="resolved", at=timestamp(at_ms), detail=why[:MAX_DETAIL], evidence=evidence, by=by)


def action(one: Deviation) -> str:
    """What is done when it opens."""
    return f"halt {one.halts}" if one.halts else "alert and investigate"


def standing(one: Deviation, now_ms: int) -> str:
    """For people."""
    left = one.deadline_ms - now_ms
    clock = f"{left // MINUTE_MS} min left" if left > 0 else f"{-left // MINUTE_MS} min past its deadline"
    return f"{one.kind} of {one.about}: {one.detail}; {clock}"[:MAX_DETAIL]
