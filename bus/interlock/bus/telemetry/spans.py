"""Spans, cheap to make (OPS-01): plain values while a hop is handled; OpenTelemetry sees only those that are exported.

Code under a hop says `with span("reserve"):`. Where nobody traces that is a look at two context variables.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar, Token
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from interlock.bus.hop import Hop

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Value = str | int | float | bool
Link = tuple[str, str]
_numbers = itertools.count(1)
_PREFIX = os.urandom(4).hex()


class Span:
    """One timed piece of work. Times in ns since 1970 UTC; trace_id 32 and span_id 16 hex digits (W3C); problem: what went
    wrong, empty if nothing did. shared: attributes that are the same in many spans.
    """

    shared: tuple[tuple[str, Value], ...] = ()
    __slots__ = (
        "attributes",
        "end_ns",
        "kind",
        "links",
        "name",
        "parent_id",
        "problem",
        "span_id",
        "start_ns",
        "trace_id",
        "tracer",
    )

    def __init__(
        self,
        tracer: Tracing,
        name: str,
        kind: Kind,
        trace_id: str,
        span_id: str,
        parent_id: str,
        start_ns: int,
        attributes: dict[str, Value],
    ) -> None:
        self.tracer = tracer
        self.name = name
        self.kind = kind
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_id = parent_id
        self.start_ns = start_ns
        self.end_ns = 0
        self.attributes = attributes
        self.problem = ""
        self.links: tuple[Link, ...] = ()

    def set(self, name: str, value: Value) -> None:
        self.attributes[name] = value

    def fail(self, problem: str) -> None:
        self.problem = problem or "failed"

    def leaving(self) -> Iterator[Span]:
        """What is exported for it: itself, with all its attributes, and what it stands for besides."""
        yield self


class Tracing(Protocol):
    """Who begins spans and hands on those that have ended."""

    def begin(
        self,
        name: str,
        *,
        kind: Kind,
        trace_id: str,
        parent_id: str,
        span_id: str = "",
        attributes: dict[str, Value] | None = None,
    ) -> Span: ...

    def end(self, span: Span) -> None: ...

    def ended(self, span: Span) -> None: ...

    def keep(self, trace_id: str, why: str) -> None: ...

    def flags(self, trace_id: str) -> str: ...


class Tracer:
    """hand_on: gets every span that has ended; must not wait. keep: told of traces that are wanted whole. flags: the W3C
    trace flags of a trace. clock_ns: the machine's time.
    """

    def __init__(
        self,
        hand_on: Callable[[Span], None],
        keep: Callable[[str, str], None],
        is_sampled: Callable[[str], bool],
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        # A span whose end is known already; keep: the trace is to be kept whole, whatever the sampling says.
        self.ended = hand_on
        self.keep = keep
        self._is_sampled = is_sampled
        self._clock_ns = clock_ns

    def begin(
        self,
        name: str,
        *,
        kind: Kind,
        trace_id: str,
        parent_id: str,
        span_id: str = "",
        attributes: dict[str, Value] | None = None,
    ) -> Span:
        return Span(self, name, kind, trace_id, span_id or new_span_id(), parent_id, self._clock_ns(), attributes or {})

    def end(self, span: Span) -> None:
        span.end_ns = max(self._clock_ns(), span.start_ns)
        self.ended(span)

    def flags(self, trace_id: str) -> str:
        return "01" if self._is_sampled(trace_id) else "00"


def new_span_id() -> str:
    """Unique in a trace: a random part per process, and a number."""
    return span_id_of(new_number())


# A span of this process; its id can be made of it later, if anybody wants to know it.
new_number: Callable[[], int] = partial(next, _numbers)


def span_id_of(number: int) -> str:
    """The id of the span with this number."""
    return f"{_PREFIX}{number & 0xFFFF_FFFF:08x}"


def new_trace_id() -> str:
    """For what belongs to no goal."""
    return os.urandom(16).hex()


_active: ContextVar[Span | None] = ContextVar("interlock_span", default=None)
_handling: ContextVar[Hop | None] = ContextVar("interlock_hop", default=None)

# The hop that this handles, if it does, and that which it handles from here on.
handled: Callable[[], Hop | None] = _handling.get
handles: Callable[[Hop | None], object] = _handling.set


def active() -> Span | None:
    """The span under which this runs, if anybody traces: one that was entered, or else that of the hop."""
    entered = _active.get()
    if entered is not None:
        return entered
    hop = _handling.get()
    return None if hop is None else hop.span


# From here on that one; and back to that before.
enter: Callable[[Span], Token[Span | None]] = _active.set
leave: Callable[[Token[Span | None]], None] = _active.reset


class _Nothing:
    """What `span` gives where nobody traces."""

    __slots__ = ()

    def __enter__(self) -> _Nothing:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def set(self, name: str, value: Value) -> None:
        """Nobody looks."""

    def fail(self, problem: str) -> None:
        """Nobody looks."""


NOTHING = _Nothing()


class _Entered:
    """A span for as long as a `with` lasts, the active one meanwhile."""

    __slots__ = ("_span", "_token")

    def __init__(self, entered: Span) -> None:
        self._span = entered

    def __enter__(self) -> Span:
        self._token = _active.set(self._span)
        return self._span

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        _active.reset(self._token)
        if error is not None and not self._span.problem:
            self._span.fail(f"{type(error).__name__}: {error}"[:300])
        self._span.tracer.end(self._span)


def span(name: str, attributes: dict[str, Value] | None = None, *, kind: Kind = "internal") -> _Entered | _Nothing:
    """A child of the active span; nothing where there is none."""
    parent = active()
    if parent is None:
        return NOTHING
    child = parent.tracer.begin(
        name, kind=kind, trace_id=parent.trace_id, parent_id=parent.span_id, attributes=attributes
    )
    return _Entered(child)


def moment(name: str, attributes: dict[str, Value], *, problem: str = "") -> None:
    """A child span without length: something that was decided."""
    with span(name, attributes) as decided:
        if problem:
            decided.fail(problem)
