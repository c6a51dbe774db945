"""Traces are read strictly: every refusal names its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.skills.errors import SkillsError
from interlock.skills.infrastructure.trace import COLUMNS, MAX_BYTES, MAX_ROWS, Row, read_trace


def test_figures_become_integers_in_the_units_of_what_is_seen() -> None:
    trace = read_trace(
        b"# a comment before the names\r\n"
        b"time_s, offered_rps,work_ms,replicas,cpu_m,memory_mib,latency_p95_ms,error_rate_percent,queue_depth\r\n"
        b"0,12.5,0.35,2,50,64,199.999,0.5,3\r\n\r\n"
        b"15.5,,,,,,,,\r\n",
        source="t.csv",
    )
    assert trace.offered
    assert trace.rows == (
        Row(
            at_ms=0,
            offered_mrps=12_500,
            work_us=350,
            replicas=2,
            cpu_m=50,
            memory_bytes=64 << 20,
            latency_p95_us=199_999,
            error_rate_ppm=5_000,
            queue_depth=3,
        ),
        Row(at_ms=15_500),
    )
    assert not read_trace(b"\xef\xbb\xbftime_s,cpu_m\n0,1", source="t.csv").offered


BROKEN = [
    (b"", 1, "no line with the names of the columns"),
    (b"time_s,cpu_m\n", 1, "no rows"),
    (b"cpu_m\n1\n", 1, "there is no time_s"),
    (b"time_s\n1\n", 1, "nothing but time_s"),
    (b"time_s,cpu\n0,1\n", 1, "no column is called 'cpu'; there are time_s, offered_rps"),
    (b"time_s,cpu_m,cpu_m\n0,1,1\n", 1, "cpu_m is there twice"),
    (b"time_s,cpu_m\n0,1\n0,1\n", 3, "time_s does not rise"),
    (b"time_s,cpu_m\n5,1\n4,1\n", 3, "time_s does not rise"),
    (b"time_s,cpu_m\n,1\n", 2, "time_s is empty"),
    (b"time_s,cpu_m\n0,1,2\n", 2, "3 fields, the first line names 2"),
    (b"time_s,cpu_m\n0\n", 2, "1 fields"),
    (b"time_s,cpu_m\n0,-1\n", 2, "cpu_m is '-1', a number such as 12 or 12.5 was expected"),
    (b"time_s,cpu_m\n0,1e3\n", 2, "'1e3'"),
    (b"time_s,cpu_m\n0,nan\n", 2, "'nan'"),
    (b"time_s,cpu_m\n0,50m\n", 2, "'50m'"),
    (b"time_s,cpu_m\n0,1_000\n", 2, "'1_000'"),
    ("time_s,cpu_m\n0,١\n".encode(), 2, "a number"),
    (b"time_s,cpu_m\n0,1\n1,0,5\n", 3, "3 fields"),
    (b"time_s,error_rate_percent\n0,100.1\n", 2, "more than 100"),
    (b"time_s,work_ms\n0,0\n", 2, "work_ms is 0"),
    (b"time_s,work_ms\n0,0.0001\n", 2, "work_ms is 0"),
    (b"time_s,replicas\n0,100001\n", 2, "more than 100000 replicas"),
    (b"time_s,cpu_m\n0,\xff\n", 2, "not UTF-8"),
    (b'time_s,cpu_m\n0,"1\n', 2, "unexpected end of data"),
    (b'time_s,cpu_m\n0,"1"2\n', 2, "expected after"),
    (b"time_s,cpu_m\n0," + b"1" * 2000 + b"\n", 2, "longer than"),
    (b"x" * (MAX_BYTES + 1), 1, "bytes, at most"),
    (b"time_s,cpu_m\n" + b"".join(b"%d,1\n" % n for n in range(MAX_ROWS + 1)), MAX_ROWS + 2, "more than 100000 rows"),
]


@pytest.mark.parametrize(("data", "line", "why"), BROKEN, ids=[why for _, _, why in BROKEN])
def test_refused_with_its_line(data: bytes, line: int, why: str) -> None:
    with pytest.raises(SkillsError) as raised:
        read_trace(data, source="t.csv")
    assert raised.value.reason == "trace_invalid"
    assert raised.value.detail.startswith(f"t.csv:{line}: ")
    assert why in raised.value.detail
    assert len(raised.value.detail) < 400


@given(st.binary(max_size=200) | st.text('time_s,cpu_m\n\r"0123.;', max_size=200).map(str.encode))
def test_any_bytes_are_a_trace_or_refused(data: bytes) -> None:
    try:
        trace = read_trace(data, source="t.csv")
    except SkillsError as error:
        assert error.reason == "trace_invalid"
    else:
        assert [row.at_ms for row in trace.rows] == sorted({row.at_ms for row in trace.rows})


def test_every_column_fills_a_field_of_its_own() -> None:
    fields = [column.field for column in COLUMNS.values()]
    assert sorted(fields) == sorted(Row.__struct_fields__)
