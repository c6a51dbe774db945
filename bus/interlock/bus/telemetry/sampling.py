"""Which traces are exported (OPS-01): a share of all, and every one in which something was refused, deviated or was slow.

What a goal will come to is known only at its end. Spans of traces outside the share wait in bounded memory; once a trace
is to be kept, they are exported, and the other processes are told, so that they hand out theirs. What nobody asked for
in time is let go.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

from msgspec import Struct

from interlock.bus.telemetry.spans import Span

MAX_KEPT = 4_096
Export = Callable[[Span], None]


class SamplingSettings(Struct, frozen=True, kw_only=True):
    """ratio: the share of traces that is exported in any case. max_waiting: how many spans of others may wait. slow_ms: how
    old a goal is when it counts as slow, 0: never. per_second: how many further traces a second may be kept.
    """

    ratio: float = 1.0
    max_waiting: int = 4_096
    slow_ms: int = 30_000
    per_second: int = 50


class TailSampler:
    """export: gets the spans that are kept. tell: told of a trace that this process was the first to want."""

    def __init__(self, settings: SamplingSettings, export: Export, tell: Callable[[str, str], None]) -> None:
        self._settings = settings
        self._export = export
        self._tell = tell
        # As TraceIdRatioBased of OpenTelemetry has it, so that everybody means the same traces.
        self._bound = f"{round(settings.ratio * 2**64):016x}"
        self._takes_all = settings.ratio >= 1
        self._waiting: deque[Span] = deque(maxlen=settings.max_waiting)
        self._kept: OrderedDict[str, None] = OrderedDict()
        self._second, self._this_second = 0, 0

    @property
    def waiting(self) -> int:
        """Spans that may yet be wanted."""
        return len(self._waiting)

    def is_in_share(self, trace_id: str) -> bool:
        """trace_id: 32 lower-case hex digits, which sort as the numbers they are."""
        return self._takes_all or trace_id[16:] < self._bound

    def is_sampled(self, trace_id: str) -> bool:
        return self._takes_all or trace_id[16:] < self._bound or trace_id in self._kept

    def ended(self, span: Span) -> None:
        trace_id = span.trace_id
        if self._takes_all or trace_id[16:] < self._bound or trace_id in self._kept:
            self._export(span)
        else:
            self._waiting.append(span)

    def keep(self, trace_id: str, why: str, now_s: int, *, told: bool = False) -> None:
        """From now on, and what waits. told: somebody else has said so, and has told everybody."""
        if self.is_sampled(trace_id) or not self._may_keep(now_s):
            return
        self._kept[trace_id] = None
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        if any(span.trace_id == trace_id for span in self._waiting):
            # Looked for only now: of many traces few are kept, and each span waits.
            for span in [self._waiting.popleft() for _ in range(len(self._waiting))]:
                (self._export if span.trace_id == trace_id else self._waiting.append)(span)
        if not told:
            self._tell(trace_id, why)

    def _may_keep(self, now_s: int) -> bool:
        """Whoever floods us with what must be refused does not flood the collector through us."""
        if now_s != self._second:
            self._second, self._this_second = now_s, 0
        self._this_second += 1
        return self._this_second <= self._settings.per_second
