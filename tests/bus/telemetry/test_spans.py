"""Spans: children of what is active, nothing where nobody traces, and failures told."""

from __future__ import annotations

import subprocess
import sys

import pytest

from interlock.bus.telemetry.spans import Span, Tracer, active, enter, leave, moment, new_span_id, span

TRACE = "ab" * 16


class Recorded:
    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.kept: list[tuple[str, str]] = []
        self.now_ns = 1_000
        self.tracer = Tracer(self.spans.append, lambda *kept: self.kept.append(kept), lambda _: True, self.tick)

    def tick(self) -> int:
        self.now_ns += 10
        return self.now_ns

    def begin(self, name: str = "root") -> Span:
        return self.tracer.begin(name, kind="internal", trace_id=TRACE, parent_id="")


def test_without_anybody_tracing_nothing_is_made() -> None:
    with span("policy") as nothing:
        nothing.set("a", 1)
        nothing.fail("b")
        assert active() is None
    moment("gate", {})


def test_children_know_their_parent_and_end_before_it() -> None:
    recorded = Recorded()
    token = enter(recorded.begin())
    with span("outer", {"n": 1}) as outer, span("inner") as inner:
        assert active() is inner
    moment("decided", {"passed": False}, problem="no")
    root = active()
    leave(token)
    assert isinstance(outer, Span) and root is not None and active() is None
    recorded.tracer.end(root)
    assert [one.name for one in recorded.spans] == ["inner", "outer", "decided", "root"]
    by_name = {one.name: one for one in recorded.spans}
    assert by_name["inner"].parent_id == outer.span_id and by_name["outer"].parent_id == root.span_id
    assert {one.trace_id for one in recorded.spans} == {TRACE}
    assert by_name["outer"].attributes == {"n": 1} and by_name["decided"].problem == "no"
    assert all(one.end_ns > one.start_ns for one in recorded.spans)


def test_what_raises_is_told_and_comes_out() -> None:
    recorded = Recorded()
    token = enter(recorded.begin())
    with pytest.raises(ValueError, match="broken"), span("work"):
        raise ValueError("broken")
    leave(token)
    assert recorded.spans[0].problem == "ValueError: broken"


def test_a_clock_that_goes_back_gives_no_negative_length() -> None:
    times = iter([100, 50])
    ended: list[Span] = []
    tracer = Tracer(ended.append, lambda *_: None, lambda _: True, lambda: next(times))
    tracer.end(tracer.begin("a", kind="internal", trace_id=TRACE, parent_id=""))
    assert (ended[0].start_ns, ended[0].end_ns) == (100, 100)


def test_span_ids_are_valid_and_never_the_same() -> None:
    ids = {new_span_id() for _ in range(10_000)}
    assert len(ids) == 10_000
    assert all(len(one) == 16 and int(one, 16) for one in ids)


def test_a_role_imports_neither_opentelemetry_nor_prometheus_before_it_is_told_to() -> None:
    code = "import sys, interlock.agents.process, interlock.agents.wiring; print([m for m in sys.modules if m.split('.')[0] in ('opentelemetry', 'prometheus_client', 'requests')])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
