"""A CSV file of what was measured, or of the load that was offered, over time: read strictly, or not at all.

The first line names the columns. `time_s` is there and rises; an empty field was not measured then.
"""

from __future__ import annotations

import csv
import io
import re
from decimal import Decimal

from msgspec import Struct

from interlock.skills.errors import SkillsError

MAX_BYTES = 8 << 20
MAX_ROWS = 100_000
MAX_LINE = 1_000
_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")


class Column(Struct, frozen=True):
    """A column: the field of Row it fills, and by what its figures are multiplied to become integers."""

    field: str
    factor: int
    meaning: str


COLUMNS: dict[str, Column] = {
    "time_s": Column("at_ms", 1_000, "seconds since the trace began"),
    "offered_rps": Column("offered_mrps", 1_000, "requests per second that clients send"),
    "work_ms": Column("work_us", 1_000, "processor time of one request"),
    "replicas": Column("replicas", 1, "replicas at that time; only the first is used, to begin with"),
    "cpu_m": Column("cpu_m", 1, "millicores that a pod uses"),
    "memory_mib": Column("memory_bytes", 1 << 20, "memory that a pod uses"),
    "latency_p50_ms": Column("latency_p50_us", 1_000, "half of the answers are at most this late"),
    "latency_p95_ms": Column("latency_p95_us", 1_000, "95 of 100 answers are at most this late"),
    "latency_p99_ms": Column("latency_p99_us", 1_000, "99 of 100 answers are at most this late"),
    "throughput_rps": Column("throughput_mrps", 1_000, "answers per second"),
    "error_rate_percent": Column("error_rate_ppm", 10_000, "share of the answers that are errors"),
    "availability_percent": Column("availability_ppm", 10_000, "share of the requests that are answered"),
    "queue_depth": Column("queue_depth", 1, "items that wait"),
}
PERCENTS = frozenset(name for name in COLUMNS if name.endswith("_percent"))


class Row(Struct, frozen=True, kw_only=True):
    """One line of a trace, in the units of observed.py. None: not measured then."""

    at_ms: int
    offered_mrps: int | None = None
    work_us: int | None = None
    replicas: int | None = None
    cpu_m: int | None = None
    memory_bytes: int | None = None
    latency_p50_us: int | None = None
    latency_p95_us: int | None = None
    latency_p99_us: int | None = None
    throughput_mrps: int | None = None
    error_rate_ppm: int | None = None
    availability_ppm: int | None = None
    queue_depth: int | None = None


class Trace(Struct, frozen=True):
    """At least one row, by time. offered: it tells what clients send, so that what follows from it can be computed."""

    rows: tuple[Row, ...]
    offered: bool


def read_trace(data: bytes, *, source: str) -> Trace:
    """source: how the file is called in errors. Raises SkillsError `trace_invalid` with source:line."""
    if len(data) > MAX_BYTES:
        raise _invalid(source, 1, f"{len(data)} bytes, at most {MAX_BYTES} are read")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise _invalid(source, line, "not UTF-8") from error
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    names: list[str] | None = None
    while True:
        try:
            fields = next(lines)
        except StopIteration:
            break
        except csv.Error as error:
            raise _invalid(source, lines.line_num, str(error)) from error
        if sum(map(len, fields)) > MAX_LINE:
            raise _invalid(source, lines.line_num, f"longer than {MAX_LINE} characters")
        if not fields or (fields[0].lstrip().startswith("#") and names is None):
            continue
        if names is None:
            names = _header(fields, source, lines.line_num)
            continue
        if len(rows) == MAX_ROWS:
            raise _invalid(source, lines.line_num, f"more than {MAX_ROWS} rows")
        rows.append(_row(names, fields, rows[-1].at_ms if rows else -1, source, lines.line_num))
    if not rows:
        raise _invalid(source, max(1, lines.line_num), "no rows" if names else "no line with the names of the columns")
    return Trace(tuple(rows), "offered_rps" in (names or ()))


def _header(fields: list[str], source: str, line: int) -> list[str]:
    names = [field.strip() for field in fields]
    unknown = [name for name in names if name not in COLUMNS]
    if unknown:
        raise _invalid(source, line, f"no column is called {unknown[0][:40]!r}; there are {', '.join(COLUMNS)}")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise _invalid(source, line, f"{twice[0]} is there twice")
    if "time_s" not in names:
        raise _invalid(source, line, "there is no time_s")
    if len(names) == 1:
        raise _invalid(source, line, "there is nothing but time_s")
    return names


def _row(names: list[str], fields: list[str], before_ms: int, source: str, line: int) -> Row:
    if len(fields) != len(names):
        raise _invalid(source, line, f"{len(fields)} fields, the first line names {len(names)}")
    values: dict[str, int] = {}
    for name, field in zip(names, fields, strict=True):
        column, text = COLUMNS[name], field.strip()
        if not text:
            continue
        if _NUMBER.fullmatch(text) is None:
            raise _invalid(source, line, f"{name} is {text[:40]!r}, a number such as 12 or 12.5 was expected")
        if name in PERCENTS and Decimal(text) > 100:
            raise _invalid(source, line, f"{name} is {text}, more than 100")
        values[column.field] = int(Decimal(text) * column.factor)
    if "at_ms" not in values:
        raise _invalid(source, line, "time_s is empty")
    if values["at_ms"] <= before_ms:
        raise _invalid(source, line, "time_s does not rise")
    if values.get("work_us") == 0 or values.get("replicas", 0) > 100_000:
        raise _invalid(source, line, "work_ms is 0" if values.get("work_us") == 0 else "more than 100000 replicas")
    return Row(**values)


def _invalid(source: str, line: int, why: str) -> SkillsError:
    return SkillsError("trace_invalid", f"{source}:{line}: {why}", "Mend the trace; docs/blueprints.md has its columns")
