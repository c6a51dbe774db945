"""The highest value of a stretch of time, remembered in few entries however often one is added."""

from __future__ import annotations

from msgspec import Struct

_ENTRIES = 30


class Peak(Struct, frozen=True, array_like=True):
    """A value and the last moment it held."""

    at_ms: int
    value: int


Peaks = tuple[Peak, ...]


def add_peak(peaks: Peaks, at_ms: int, value: int, span_ms: int) -> Peaks:
    """Peaks of the last span_ms with one more. Those of one thirtieth of the span become one, the highest and the latest:
    a peak is remembered a little too long, never too short.
    """
    step_ms = max(1, span_ms // _ENTRIES)
    kept = [peak for peak in peaks if at_ms - peak.at_ms < span_ms and peak.at_ms <= at_ms]
    while kept and (kept[-1].value <= value or kept[-1].at_ms // step_ms == at_ms // step_ms):
        value = max(value, kept.pop().value)
    return (*kept, Peak(at_ms, value))


def highest(peaks: Peaks, now_ms: int, span_ms: int) -> int | None:
    """The highest value of the last span_ms, None if there is none."""
    return max((peak.value for peak in peaks if 0 <= now_ms - peak.at_ms < span_ms), default=None)
