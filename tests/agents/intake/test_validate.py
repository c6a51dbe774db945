"""Intakes: every error with its path, friendly spellings accepted, nothing raised for any bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.agents.goal.plan import Problem
from interlock.agents.intake.reading import plain_problems
from interlock.agents.intake.validate import MAX_BYTES, Accepted, Rejected, read_intake
from interlock.agents.planning.catalogue import Catalogue, load_catalogue
from interlock.envelope.canonical import canonical, check_plain

CONFIG = Path(__file__).parents[3] / "config"
SKILLS = Path(__file__).parents[1] / "skills"
NOW = 1_763_700_000_000
HOUR = 3_600_000
GOOD: dict[str, Any] = {
    "goal": "x",
    "constraints": [],
    "stakeholders": ["Ada"],
    "success_metrics": ["y"],
    "budget_limits": {"costUSD": "0.5", "actions": 5},
}
CATALOGUE: Catalogue = load_catalogue(CONFIG, [SKILLS], [])


def read(data: bytes | dict[str, Any]) -> Accepted | Rejected:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return read_intake(raw, now_ms=NOW, max_ttl_ms=HOUR, catalogue=CATALOGUE)


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        ("0.5", "0.5"),
        (0.5, "0.5"),
        (1, "1"),
        ("1.50", "1.5"),
        (1e-06, "0.000001"),
        (1e-07, None),
        (1e400, None),
        (10**30, None),
        (True, None),
        (0.1 + 0.2, None),
        (-1, None),
        ("x", None),
    ],
)
def test_money_may_be_written_as_a_number(cost: Any, text: str | None) -> None:
    answer = read(GOOD | {"budget_limits": {"costUSD": cost, "actions": 1}})
    if text is None:
        assert isinstance(answer, Rejected)
        assert answer.problems[0].path == "$.budget_limits.costUSD"
    else:
        assert isinstance(answer, Accepted)
        assert answer.intake.budget_limits.cost_usd == text


def test_friendly_forms_are_normalised() -> None:
    answer = read(
        GOOD
        | {
            "budget_limits": {"thinkingBudget": 7, "actions": 1},
            "stakeholders": ["Ada", {"name": "Grace", "role": "owner"}],
        }
    )
    assert isinstance(answer, Accepted)
    assert answer.intake.budget_limits.thinking_tokens == 7
    assert [person.name for person in answer.intake.stakeholders] == ["Ada", "Grace"]


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        ({"goal": "  "}, {"$.goal"}),
        ({"goal": 5, "constraints": "no"}, {"$.goal", "$.constraints"}),
        ({"stakeholders": [], "success_metrics": []}, {"$.stakeholders", "$.success_metrics"}),
        ({"budget_limits": {}}, {"$.budget_limits.actions"}),
        ({"budget_limits": {"wallMs": -1}}, {"$.budget_limits.wallMs"}),
        ({"bogus": 1, "constraint": []}, {"$.bogus", "$.constraint"}),
        ({"a b": 1, "\x1b[2J": 2}, {"$['a b']", "$['\\x1b[2J']"}),
        ({"type": "plan_draft"}, {"$.type"}),
        ({"inputs": {"a": [0.5]}}, {"$.inputs.a[0]"}),
        ({"inputs": {"a": 2**60}}, {"$.inputs.a"}),
        ({"inputs": {"a:b": 0.5, "c": {"d": [1, 1.5]}}}, {"$.inputs['a:b']", "$.inputs.c.d[1]"}),
        ({"risk_hints": {"x": "\ud800"}}, {"$.risk_hints.x"}),
        ({"tasks": [{"id": "a", "skill": "doing-nothing", "input": {"x": 0.1}}]}, {"$.tasks[0].input.x"}),
        ({"tasks": [{"id": "a", "skill": "doing-nothing", "budget": {"costUSD": "x"}}]}, {"$.tasks[0].budget.costUSD"}),
        ({"tasks": [{"id": "a", "skill": "doing-nothing", "ater": []}]}, {"$.tasks[0].ater"}),
        ({"tasks": [{"id": "a", "skill": "doing-nothing", "input": {"x": "${inputs.y}"}}]}, {"$.tasks[0].input.x"}),
        ({"tasks": [{"id": "a", "skill": "doing-nothing", "each": "${inputs.y}"}]}, {"$.tasks[0].each"}),
        (
            {"tasks": [{"id": "a", "skill": "doing-nothing", "each": "${inputs.y}"}], "inputs": {"y": "text"}},
            {"$.tasks[0].each"},
        ),
        (
            {"tasks": [{"id": "a", "skill": "doing-nothing", "each": "${inputs.y}"}], "inputs": {"y": [0] * 1001}},
            {"$.tasks[0].each"},
        ),
        ({"data_classification": "secret"}, {"$.data_classification"}),
        ({"playbook": 5}, {"$.playbook"}),
        ({"playbook": "No Such"}, {"$.playbook"}),
        ({"constraints": [1, "x", None]}, {"$.constraints[0]", "$.constraints[2]"}),
        ({"seed": -1}, {"$.seed"}),
        ({"goal": "x" * 20_001}, {"$.goal"}),
        ({"stakeholders": [{"nam": "Ada"}]}, {"$.stakeholders[0].name", "$.stakeholders[0].nam"}),
        ({"deadline": "yesterday"}, {"$.deadline"}),
        ({"deadline": "2020-01-01T00:00:00Z"}, {"$.deadline"}),
        ({"deadline": "2099-01-01T00:00:00Z"}, {"$.deadline"}),
        ({"deadline": "2099-01-01T00:00:00"}, {"$.deadline"}),
        ({"playbook": "release-readines"}, {"$.playbook"}),
        ({"playbook": "release-readiness"}, {"$.inputs"}),
        ({"playbook": "release-readiness", "inputs": {"path": 5}}, {"$.inputs.path"}),
        ({"playbook": "x", "tasks": [{"id": "a", "skill": "doing-nothing"}]}, {"$.tasks", "$.playbook"}),
        ({"tasks": [{"id": "A", "skill": "doing-nothing"}]}, {"$.tasks[0].id"}),
        ({"tasks": [{"id": "a"}]}, {"$.tasks[0].skill"}),
        ({"tasks": [{"id": "a", "skill": "none"}]}, {"$.tasks[0].skill"}),
        ({"tasks": [{"id": "a", "skill": "doing-nothing"}] * 2}, {"$.tasks[1].id"}),
        ({"tasks": [{"id": "a", "skill": "doing-nothing", "after": ["a"]}]}, {"$.tasks[0].after[0]", "$.tasks"}),
        ({"tasks": [{"id": "a", "skill": "doing-nothing", "each": "all"}]}, {"$.tasks[0].each"}),
        (
            {"tasks": [{"id": "a", "skill": "doing-nothing", "input": {"x": "${tasks.b.output}"}}]},
            {"$.tasks[0].input.x"},
        ),
        ({"release": {"id": "r", "skill": "doing-nothing"}}, {"$.release"}),
    ],
)
def test_errors_have_their_paths(change: dict[str, Any], paths: set[str]) -> None:
    answer = read(GOOD | change)
    assert isinstance(answer, Rejected)
    assert {problem.path for problem in answer.problems} == paths
    assert all(problem.message and "\n" not in problem.message for problem in answer.problems)


def test_one_kind_of_error_does_not_hide_another() -> None:
    """Of form, of meaning, and what does not travel, in one answer: nothing is to be found out one by one."""
    answer = read(
        {
            "goal": " ",
            "constraints": "none",
            "stakeholders": [],
            "deadline": "2020-01-01T00:00:00Z",
            "budget_limits": {"costUSD": "1.2345678", "actions": 0},
            "tasks": [{"id": "a", "skill": "none", "input": {"x": 0.5}}],
            "inputs": {"big": 2**53},
        }
    )
    assert isinstance(answer, Rejected)
    assert {problem.path for problem in answer.problems} == {
        "$.goal",
        "$.constraints",
        "$.stakeholders",
        "$.success_metrics",
        "$.deadline",
        "$.budget_limits.costUSD",
        "$.budget_limits.actions",
        "$.tasks[0].input.x",
        "$.inputs.big",
    }


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"constraints": "none"}, "must be a list, not text"),
        ({"goal": None}, "must be text, not null"),
        ({"constraint": []}, "did you mean `constraints`?"),
        ({"zzz": []}, "there are: goal, constraints"),
        ({"tasks": [{"id": "A", "skill": "doing-nothing"}]}, "lower-case letters, digits and hyphens"),
        ({"data_classification": "secret"}, "confidential, internal, public, restricted"),
        ({"playbook": "release-readines"}, "did you mean `release-readiness`"),
        ({"playbook": "qqq"}, "incident-budget-breach, "),
        ({"goal": "x" * 20_001}, "20001 characters; at most 20000"),
        ({"seed": -1}, "at least 0"),
    ],
)
def test_messages_are_for_people(change: dict[str, Any], told: str) -> None:
    answer = read(GOOD | change)
    assert isinstance(answer, Rejected)
    assert told in answer.problems[0].message


@pytest.mark.parametrize(
    ("data", "path", "told"),
    [
        (b'{"goal": "x", "goal": "y"}', "$.goal", "twice"),
        (b'{"inputs": {"a": [{"b": 1, "b": 2, "b": 3}]}}', "$.inputs.a[0].b", "twice"),
        (b'{"seed": NaN}', "$.seed", "NaN"),
        (b'{"inputs": {"a": -Infinity}}', "$.inputs.a", "Infinity"),
        (b'{"inputs": {"a": 1e400}}', "$.inputs.a", "strings"),
        (b'{"inputs": ' + b'{"a":' * 40 + b"1" + b"}" * 41, "$.inputs" + ".a" * 31, "deeper"),
        (b"[" * 200_000, "$", "deeper"),
        (b"\xff", "$", "UTF-8"),
        (b"", "$", "not JSON"),
        (b"{} x", "$", "not JSON"),
        (b"1" * 5_000, "$", "not JSON"),
        (b"[]", "$", "object"),
    ],
)
def test_what_json_does_not_allow_is_told_with_its_place(data: bytes, path: str, told: str) -> None:
    answer = read(data)
    assert isinstance(answer, Rejected)
    found = {problem.path: problem.message for problem in answer.problems}
    assert told in found[path]


def test_at_most_fifty_problems_are_told() -> None:
    for change in ({"inputs": {"a": [0.5] * 200}}, {"constraints": [0] * 200}, {f"x{n}": 1 for n in range(200)}):
        answer = read(GOOD | change)
        assert isinstance(answer, Rejected)
        assert len(answer.problems) == 50


def test_an_error_far_behind_in_a_long_list_is_told() -> None:
    answer = read(GOOD | {"constraints": ["x"] * 5_000 + [7]})
    assert isinstance(answer, Rejected)
    assert "constraints" in answer.problems[0].path


def test_what_grows_too_large_with_its_defaults_is_told() -> None:
    """Small as written, but every task gets its defaults: the envelope that would carry it would be too large."""
    answer = read(GOOD | {"tasks": [{"id": f"t{n}", "skill": "doing-nothing"} for n in range(1_900)]})
    assert isinstance(answer, Rejected)
    assert "with all defaults" in answer.problems[0].message


def test_size_is_bounded() -> None:
    answer = read(b" " * (MAX_BYTES + 1))
    assert isinstance(answer, Rejected)
    assert str(MAX_BYTES) in answer.problems[0].message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("\ud800"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*GOOD, "tasks", "inputs", "playbook", "x", "\ud800", "\x1b[2J"]), inner, max_size=5
        )
    ),
    max_leaves=12,
)


def sent(problems: list[Problem]) -> bytes:
    """As the gateway answers; raises for what could not be sent."""
    return msgspec.json.encode([{"path": problem.path, "message": problem.message} for problem in problems])


@settings(deadline=None)
@given(
    st.binary(max_size=100)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.sampled_from([*GOOD, "tasks"]), JSON).map(lambda change: json.dumps(GOOD | change).encode())
)
def test_nothing_is_ever_raised(data: bytes) -> None:
    answer = read(data)
    if isinstance(answer, Accepted):
        assert answer.intake.budget_limits.actions > 0
        return
    assert 0 < len(answer.problems) <= 50
    assert len(sent(answer.problems)) < 50 * 1_300
    assert all(problem.path.startswith("$") and problem.path.isprintable() for problem in answer.problems)
    assert all(problem.message and problem.message.isprintable() for problem in answer.problems)


@settings(deadline=None)
@given(JSON.filter(lambda value: isinstance(value, dict)))
def test_what_is_accepted_travels(value: dict[str, Any]) -> None:
    answer = read(GOOD | {"inputs": value})
    assert isinstance(answer, Accepted) == (not plain_problems({"inputs": value}))
    if isinstance(answer, Accepted):
        assert answer.intake.inputs == value
        check_plain(msgspec.json.decode(canonical(answer.intake.inputs)))
