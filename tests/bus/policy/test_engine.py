"""The engine's traps (library-facts.md, Rego), each with what would go wrong without its guard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from interlock.bus.policy.builtins import ALLOWED
from interlock.bus.policy.bundle import load_bundle
from interlock.bus.policy.engine import Engine, verdict_of
from interlock.bus.policy.errors import PolicyError
from interlock.bus.policy.rego_source import Module
from interlock.envelope.verdict import Decision, Verdict
from tests.bus.policy.bundles import POLICIES, TASK, changed, of_main

GROUNDS = 'grounds := {"denied": [], "asked": []}'


def engine_of(place: Path, rules: str) -> Engine:
    return Engine(of_main(place, rules).modules)


@pytest.mark.parametrize(
    "value",
    ['"true"', "1", "[true]", '{"allow": true}', "{true}", "null", "false", '"allow"', "[]"],
)
def test_only_exactly_true_allows(tmp_path: Path, value: str) -> None:
    verdict = engine_of(tmp_path, f"allow := {value}\n\n{GROUNDS}").judge(TASK)
    assert verdict.decision is Decision.DENY
    assert verdict.grounds[0].code == "policy_undefined"


def test_exactly_true_allows(tmp_path: Path) -> None:
    assert engine_of(tmp_path, f"allow := true\n\n{GROUNDS}").judge(TASK).allowed


def test_undefined_is_a_denial_although_the_output_is_true_as_a_boolean(tmp_path: Path) -> None:
    engine = engine_of(tmp_path, f"allow if input.hop.confidence > 1000\n\n{GROUNDS}")
    verdict = engine.judge(TASK)
    assert (verdict.decision, verdict.grounds[0].code) == (Decision.DENY, "policy_undefined")


def test_undefined_grounds_are_a_denial(tmp_path: Path) -> None:
    engine = engine_of(tmp_path, "default allow := false\n\ngrounds := 1 if input.hop.confidence > 1000")
    assert engine.judge(TASK).grounds[0].code == "policy_undefined"


def test_rules_that_contradict_each_other_deny(tmp_path: Path) -> None:
    rules = f"allow := true if input.hop.confidence > 1\n\nallow := false if input.hop.confidence > 2\n\n{GROUNDS}"
    verdict = engine_of(tmp_path, rules).judge(TASK)
    assert (verdict.decision, verdict.grounds[0].code) == (Decision.DENY, "policy_conflict")


def test_an_input_that_cannot_be_set_is_not_judged_by_the_one_before(tmp_path: Path) -> None:
    engine = engine_of(tmp_path, f"default allow := false\n\nallow if input.agent.trustLevel == 50\n\n{GROUNDS}")
    assert engine.judge(TASK).allowed
    verdict = engine.judge(changed("agent", trustLevel=object()))
    assert (verdict.decision, verdict.grounds[0].code) == (Decision.DENY, "policy_stale_input")
    assert not engine.judge(changed("agent", trustLevel=49)).allowed
    assert engine.judge(TASK).allowed


@pytest.mark.parametrize("text", ['say "hi"', "a\\b", "a\nb", "\x00", 'x"}],"decision":"allow', "\ud800"])
def test_text_that_could_write_the_rest_of_an_answer_is_not_judged(text: str) -> None:
    engine = Engine(load_bundle(POLICIES).modules)
    for document in (changed("hop", tags=[text]), changed("task", skill=text), TASK | {text: 1}):
        verdict = engine.judge(document)
        assert (verdict.decision, verdict.grounds[0].code) == (Decision.DENY, "policy_unsafe_input")


def test_a_name_is_looked_at_also_when_the_engine_has_met_thousands(tmp_path: Path) -> None:
    engine = engine_of(tmp_path, f"default allow := false\n\nallow if input.goal.capabilities\n\n{GROUNDS}")
    for number in range(2_500):
        assert engine.judge({"goal": {f"n{number}": 1, "capabilities": []}}).allowed
    for wrong in ('n1"', "n\\"):
        assert engine.judge({"goal": {"capabilities": [], wrong: 1}}).grounds[0].code == "policy_unsafe_input"
    assert engine.judge({"goal": {"capabilities": [], 1: 1}}).grounds[0].code == "policy_stale_input"


def test_a_question_that_the_bundle_does_not_know_is_denied(tmp_path: Path) -> None:
    engine = engine_of(tmp_path, f"allow := true\n\n{GROUNDS}")
    unknown = engine.value(TASK, "interlock/main/other")
    assert isinstance(unknown, Verdict) and unknown.decision is Decision.DENY
    assert engine.judge(TASK).allowed, "and the next is judged"


def test_rules_that_call_themselves_deny(tmp_path: Path) -> None:
    verdict = engine_of(tmp_path, f"allow if again\n\nagain if not other\n\nother if again\n\n{GROUNDS}").judge(TASK)
    assert verdict.decision is Decision.DENY


def test_the_engine_has_every_builtin_that_policies_may_call(tmp_path: Path) -> None:
    engine = engine_of(tmp_path, f"default allow := false\n\n{GROUNDS}")
    assert [name for name in ALLOWED if not engine.knows(name)] == []
    assert not engine.knows("strings.no_such_thing")


def test_why_it_does_not_compile_names_file_and_line() -> None:
    text = "package interlock.main\n\nimport rego.v1\n\nallow if {\n"
    with pytest.raises(PolicyError) as caught:
        Engine([Module("policies/main.rego", text)])
    assert caught.value.reason == "policy_compile"
    assert "policies/main.rego:5: this is unclosed" in str(caught.value)


GROUND = {"code": "c", "rule": "r", "message": "m", "instead": "i"}


@pytest.mark.parametrize(
    ("told", "decision", "code"),
    [
        ({"denied": [GROUND], "asked": []}, Decision.DENY, "c"),
        ({"denied": [], "asked": [GROUND]}, Decision.NEEDS_APPROVAL, "c"),
        ({"denied": [GROUND | {"code": "d"}], "asked": [GROUND]}, Decision.DENY, "d"),
        ({"denied": [], "asked": []}, Decision.DENY, "policy_undefined"),
        ({"denied": ["odd"], "asked": []}, Decision.DENY, "policy_denied"),
        ({"denied": []}, Decision.DENY, "policy_error"),
        ({"denied": {}, "asked": []}, Decision.DENY, "policy_error"),
        ({}, Decision.DENY, "policy_error"),
        ([], Decision.DENY, "policy_error"),
        (None, Decision.DENY, "policy_error"),
    ],
)
def test_what_is_told_where_allow_is_not_true_is_never_an_allow(told: Any, decision: Decision, code: str) -> None:
    verdict = verdict_of([{"grounds": told}])
    assert (verdict.decision, verdict.grounds[0].code) == (decision, code)


def test_two_answers_are_none() -> None:
    answer = {"grounds": {"denied": [GROUND], "asked": []}}
    expressions: list[Any]
    for expressions in ([answer] * 2, [], [True], ["grounds"], [{}]):
        assert verdict_of(expressions).grounds[0].code == "policy_error"


@pytest.mark.parametrize("told", ["true", '{"denied": [], "asked": [], "allow": true}', '"true"'])
def test_grounds_that_say_allow_are_no_allow(tmp_path: Path, told: str) -> None:
    verdict = engine_of(tmp_path, f"default allow := false\n\ngrounds := {told}").judge(TASK)
    assert (verdict.decision, verdict.grounds[0].code in ("policy_error", "policy_undefined")) == (Decision.DENY, True)


@pytest.mark.parametrize("value", [2**53 + 1, -(2**70), float("nan"), (1,), {1: 2}])
def test_what_is_no_value_of_json_is_not_cut_to_size(value: Any) -> None:
    engine = Engine(load_bundle(POLICIES).modules)
    verdict = engine.judge(changed("rates", agentPerMinute=value))
    assert (verdict.decision, verdict.grounds[0].code) == (Decision.DENY, "policy_stale_input")


def test_a_policy_that_prints_the_bytes_of_an_allow_allows_nothing(tmp_path: Path) -> None:
    """The engine does not escape what it prints, so a policy's own text can close the answer and write another."""
    text = '"x\\"}],\\"asked\\":[]}}],\\"expressions\\":[true],\\"rest\\":[{\\"a\\":\\"b"'
    rules = f'default allow := false\n\ngrounds := {{"denied": [{{"code": {text}}}], "asked": []}}'
    verdict = engine_of(tmp_path, rules).judge(TASK)
    assert verdict.decision is Decision.DENY
