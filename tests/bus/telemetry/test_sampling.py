"""Which traces are kept: a share of all, and every one that came to matter, within bounded memory."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from interlock.bus.telemetry.sampling import MAX_KEPT, SamplingSettings, TailSampler
from interlock.bus.telemetry.spans import Span, Tracer

TRACER = Tracer(lambda _: None, lambda *_: None, lambda _: True)
IN_SHARE, OUTSIDE = "0" * 31 + "1", "f" * 32
trace_ids = st.integers(min_value=1, max_value=2**128 - 1).map(lambda number: f"{number:032x}")


def a_span(trace_id: str, name: str = "a") -> Span:
    return Span(TRACER, name, "internal", trace_id, "1" * 16, "", 0, {})


class Sampled:
    def __init__(self, **settings: Any) -> None:
        self.exported: list[Span] = []
        self.told: list[tuple[str, str]] = []
        usual: dict[str, Any] = {"ratio": 0.5}
        given = SamplingSettings(**usual | settings)
        self.sampler = TailSampler(given, self.exported.append, lambda *told: self.told.append(told))


@given(trace_ids, st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
def test_the_share_is_the_one_that_opentelemetry_means(trace_id: str, ratio: float) -> None:
    ours = TailSampler(SamplingSettings(ratio=ratio), lambda _: None, lambda *_: None).is_in_share(trace_id)
    theirs = TraceIdRatioBased(ratio).should_sample(None, int(trace_id, 16), "a").decision
    assert ours == (theirs is Decision.RECORD_AND_SAMPLE)


def test_what_is_in_the_share_goes_out_at_once_and_the_rest_waits() -> None:
    sampled = Sampled()
    sampled.sampler.ended(a_span(IN_SHARE))
    sampled.sampler.ended(a_span(OUTSIDE))
    assert [one.trace_id for one in sampled.exported] == [IN_SHARE]
    assert sampled.sampler.waiting == 1


def test_a_trace_that_comes_to_matter_is_exported_whole_and_told_once() -> None:
    sampled = Sampled()
    for name in "ab":
        sampled.sampler.ended(a_span(OUTSIDE, name))
    assert not sampled.sampler.is_sampled(OUTSIDE)
    sampled.sampler.keep(OUTSIDE, "policy_denied", 1)
    sampled.sampler.keep(OUTSIDE, "slow", 1)
    sampled.sampler.ended(a_span(OUTSIDE, "c"))
    assert [one.name for one in sampled.exported] == ["a", "b", "c"]
    assert sampled.told == [(OUTSIDE, "policy_denied")] and sampled.sampler.waiting == 0


def test_what_others_have_told_is_not_told_again() -> None:
    sampled = Sampled()
    sampled.sampler.ended(a_span(OUTSIDE))
    sampled.sampler.keep(OUTSIDE, "slow", 1, told=True)
    assert len(sampled.exported) == 1 and sampled.told == []


@given(st.lists(trace_ids, max_size=60, unique=True), st.integers(min_value=1, max_value=20))
def test_what_waits_is_bounded_and_the_oldest_goes_first(ids: list[str], most: int) -> None:
    sampled = Sampled(ratio=0.0, max_waiting=most)
    for trace_id in ids:
        sampled.sampler.ended(a_span(trace_id))
        assert sampled.sampler.waiting <= most
    assert sampled.exported == []
    if ids:
        sampled.sampler.keep(ids[-1], "slow", 1)
        assert sampled.exported and {one.trace_id for one in sampled.exported} == {ids[-1]}


def test_a_flood_of_refusals_does_not_reach_the_collector() -> None:
    sampled = Sampled(ratio=0.0, per_second=3)
    for number in range(1, 100):
        sampled.sampler.keep(f"{number:032x}", "bad_signature", 7)
    assert len(sampled.told) == 3
    sampled.sampler.keep("e" * 32, "bad_signature", 8)
    assert len(sampled.told) == 4


def test_the_traces_remembered_are_bounded() -> None:
    sampled = Sampled(ratio=0.0, per_second=10**9)
    for number in range(1, MAX_KEPT + 2):
        sampled.sampler.keep(f"{number:032x}", "slow", 1)
    assert not sampled.sampler.is_sampled(f"{1:032x}") and sampled.sampler.is_sampled(f"{2:032x}")
