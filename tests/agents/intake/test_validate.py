"""Intakes: every error with its path, friendly spellings accepted, nothing raised for any bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.agents.intake.validate import MAX_BYTES, Accepted, Rejected, read_intake
from interlock.agents.planning.catalogue import Catalogue, load_catalogue

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
        (1e-06, None),
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
        ({"bogus": 1}, {"$"}),
        ({"inputs": {"a": [0.5]}}, {"$.inputs.a[0]"}),
        ({"inputs": {"a": 2**60}}, {"$.inputs.a"}),
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


def test_a_wrong_playbook_says_what_was_probably_meant() -> None:
    answer = read(GOOD | {"playbook": "release-readines"})
    assert isinstance(answer, Rejected)
    assert "did you mean `release-readiness`" in answer.problems[0].message


def test_size_is_bounded() -> None:
    answer = read(b" " * (MAX_BYTES + 1))
    assert isinstance(answer, Rejected)
    assert str(MAX_BYTES) in answer.problems[0].message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*GOOD, "tasks", "inputs", "playbook", "x"]), inner, max_size=5)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(
    st.binary(max_size=100)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.sampled_from([*GOOD, "tasks"]), JSON).map(lambda change: json.dumps(GOOD | change).encode())
)
def test_nothing_is_ever_raised(data: bytes) -> None:
    answer = read(data)
    assert isinstance(answer, Accepted) or answer.problems
