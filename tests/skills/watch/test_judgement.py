"""The child's words judged: whatever it says, the host lives on and can pass the answer on."""

from __future__ import annotations

import signal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.skills.protocol import RunReport
from interlock.skills.watch.judgement import judge, log_text, one_line

DONE = b'{"status":"done","output":{"a":1}}'


@pytest.mark.parametrize(
    ("status", "result", "outcome", "detail", "output"),
    [
        (0, DONE, "done", "", {"a": 1}),
        (0, b'{"status":"skill_error","detail":"no"}', "skill_error", "no", None),
        (0, b'{"status":"not_happened"}', "not_happened", "", None),
        (0, b"", "crashed", "it ended with status 0 and no result: last words", None),
        (3 << 8, b"", "crashed", "it ended with status 3 and no result: last words", None),
        (signal.SIGXCPU, DONE, "cpu_limit", "it used more than 7 CPU seconds", None),
        (signal.SIGKILL, DONE, "crashed", "it ended by SIGKILL", None),
        (40, DONE, "crashed", "it ended by signal 40", None),
        (0, b'{"status":"host_lost"}', "crashed", "it ended with status 0 and no result: last words", None),
        (0, b'{"status":"done","output":{"a":[0,1e0]}}', "float_in_output", "", None),
        (0, b'{"status":"done","output":{"a":9007199254740992}}', "output_invalid", "", None),
        (0, b'{"status":"done","output":' + b'{"a":' * 40 + b"1" + b"}" * 41, "output_invalid", "", None),
    ],
)
def test_how_runs_end(status: int, result: bytes, outcome: str, detail: str, output: Any) -> None:
    told = judge(None, status, result, "first\nlast words\n", cpu_seconds=7)
    assert (told[0], told[2]) == (outcome, output)
    assert told[1] == detail or (detail == "" and told[1].startswith("$"))


def test_the_host_decides_before_the_child_says() -> None:
    assert judge(("wall_limit", "too long"), 0, DONE, "", cpu_seconds=1) == ("wall_limit", "too long", None)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=20,
)
ANSWERS = st.builds(
    lambda status, detail, output: msgspec.json.encode({"status": status, "detail": detail, "output": output}),
    st.sampled_from(["done", "skill_error", "crashed", "stopped", ""]), st.text(), PLAIN,
)  # fmt: skip
NESTED = st.builds(
    lambda many, opening: b'{"status":"done","output":' + opening * many + b"1",
    st.integers(0, 3_000), st.sampled_from([b"[", b'{"a":']),
)  # fmt: skip


@given(st.binary(max_size=200) | ANSWERS | NESTED, st.integers(0, 0xFFFF).filter(lambda status: status & 0xFF != 0x7F))
def test_any_answer_can_be_judged_and_passed_on(result: bytes, status: int) -> None:
    if status & 0x7F > 64 or (status & 0x7F and status >> 8):
        status &= 0xFF00  # not a status that the kernel gives
    outcome, detail, output = judge(None, status, result, "log", cpu_seconds=1)
    assert detail.isprintable()
    assert len(detail) <= 500
    report = RunReport(id="run-1", outcome=outcome, detail=detail, output=output)
    assert msgspec.json.decode(msgspec.json.encode(report), type=RunReport) == report


@given(st.binary(max_size=300))
def test_logs_hold_no_control_characters(data: bytes) -> None:
    text = log_text(data)
    assert not any(ord(character) < 32 and character not in "\n\t" for character in text)
    assert not any(127 <= ord(character) < 160 for character in text)
    text.encode()


@given(st.text())
def test_lines_are_lines(text: str) -> None:
    assert len(one_line(text)) <= 500
    assert len(one_line(text).splitlines()) <= 1
