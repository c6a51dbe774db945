"""Flags: rules, schedules and defaults by table; through OpenFeature as any of its users would ask."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

from interlock.agents.cli import run
from interlock.agents.errors import UserError
from interlock.agents.flags.file import load_flags, resolve
from interlock.agents.flags.provider import flag_client
from interlock.agents.wiring import running
from interlock.envelope.amounts import time_ms
from tests.agents.conftest import CONFIG

FLAGS = load_flags(CONFIG / "flags.yaml")
MONDAY = "2026-11-16T12:00:00.000Z"


@pytest.mark.parametrize(
    ("name", "said", "at", "value", "why"),
    [
        ("ai-safety-enhanced", {}, MONDAY, False, "default"),
        ("ai-safety-enhanced", {"environment": "production"}, MONDAY, False, "default"),
        ("ai-safety-enhanced", {"environment": "production", "riskTier": "high"}, MONDAY, True, "rule"),
        ("ai-safety-enhanced", {"environment": "staging", "riskTier": "high"}, MONDAY, False, "default"),
        ("eu-ai-act-compliance", {"environment": "anything"}, MONDAY, True, "default"),
        ("chaos-engineering", {}, MONDAY, False, "default"),
        ("chaos-engineering", {}, "2026-11-20T13:59:59.999Z", False, "default"),
        ("chaos-engineering", {}, "2026-11-20T14:00:00.000Z", True, "schedule"),
        ("chaos-engineering", {}, "2026-11-20T14:59:59.999Z", True, "schedule"),
        ("chaos-engineering", {}, "2026-11-20T15:00:00.000Z", False, "default"),
        ("chaos-engineering", {}, "2026-11-21T14:30:00.000Z", False, "default"),
    ],
)
def test_the_shipped_flags(name: str, said: dict[str, Any], at: str, value: Any, why: str) -> None:
    found = resolve(FLAGS[name], said, time_ms(at))
    assert (found.value, found.why) == (value, why)
    assert FLAGS[name].variants[found.variant] == value


@pytest.mark.parametrize(
    ("at", "open_"),
    [
        ("2026-11-22T23:30:00.000Z", True),
        ("2026-11-23T00:29:59.999Z", True),
        ("2026-11-23T00:30:00.000Z", False),
        ("2026-11-22T22:59:00.000Z", False),
    ],
)
def test_a_window_may_reach_into_the_next_day(tmp_path: Path, at: str, open_: bool) -> None:
    text = 'flags:\n  f:\n    purpose: p\n    variants: {"on": true, "off": false}\n    default: "off"\n'
    path = tmp_path / "flags.yaml"
    path.write_text(text + '    schedule: [{day: sunday, from: "23:00", minutes: 90, variant: "on"}]\n')
    assert resolve(load_flags(path)["f"], {}, time_ms(at)).value is open_


@pytest.mark.parametrize(
    "flag",
    [
        "{purpose: p, variants: {a: x}, default: b}",
        "{purpose: p, variants: {a: x, b: 1}, default: a}",
        "{purpose: p, variants: {}, default: a}",
        "{purpose: p, variants: {a: x}}",
        "{purpose: p, variants: {a: x}, default: a, rules: [{when: {}, variant: a}]}",
        "{purpose: p, variants: {a: x}, default: a, rules: [{when: {e: [p]}, variant: c}]}",
        "{purpose: p, variants: {a: x}, default: a, schedule: [{day: someday, from: '14:00', minutes: 1, variant: a}]}",
        "{purpose: p, variants: {a: x}, default: a, schedule: [{day: friday, from: '24:00', minutes: 1, variant: a}]}",
        "{purpose: p, variants: {a: x}, default: a, schedule: [{day: friday, from: '14:00', minutes: 0, variant: a}]}",
        "{purpose: p, variants: {a: x}, default: a, more: 1}",
    ],
)
def test_flags_that_are_none_say_where(tmp_path: Path, flag: str) -> None:
    path = tmp_path / "flags.yaml"
    path.write_text(f"flags:\n  f: {flag}\n")
    with pytest.raises(UserError, match=r"flags\.yaml:2:\d+: .*\(bad_flags\)") as caught:
        load_flags(path)
    assert caught.value.exit_code == 2


@pytest.fixture
def client() -> Iterator[Any]:
    yield flag_client(
        FLAGS, lambda: time_ms("2026-11-20T14:30:00.000Z"), workspace="flags-test", environment="production"
    )
    api.clear_providers()


def test_through_openfeature(client: Any) -> None:
    assert client.get_boolean_value("chaos-engineering", False) is True
    high = EvaluationContext(attributes={"riskTier": "high"})
    details = client.get_boolean_details("ai-safety-enhanced", False, high)
    assert (details.value, details.variant, details.reason) == (True, "on", Reason.TARGETING_MATCH)
    assert client.get_boolean_details("eu-ai-act-compliance", False).reason == Reason.STATIC


def test_what_cannot_be_resolved_is_the_askers_default(client: Any) -> None:
    missing = client.get_boolean_details("no-such-flag", True)
    assert (missing.value, missing.error_code) == (True, ErrorCode.FLAG_NOT_FOUND)
    for details in (
        client.get_string_details("chaos-engineering", "x"),
        client.get_integer_details("chaos-engineering", 7),
        client.get_float_details("chaos-engineering", 7.0),
        client.get_object_details("chaos-engineering", {}),
    ):
        assert details.error_code == ErrorCode.TYPE_MISMATCH


@pytest.mark.parametrize(
    ("environment", "risk", "variant"), [("production", "high", "on"), ("production", "", "off"), ("", "high", "off")]
)
def test_interlock_flags_tells_what_is_in_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], environment: str, risk: str, variant: str
) -> None:
    if environment:
        (tmp_path / "interlock.yaml").write_text(f"environment: {environment}\n")
    said = ["--risk", risk] if risk else []
    assert run(["flags", "--dir", str(tmp_path), "--json", *said]) == 0
    rows = {row["flag"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows.keys() == FLAGS.keys()
    assert rows["ai-safety-enhanced"]["variant"] == variant
    assert run(["flags", "--dir", str(tmp_path)]) == 0
    assert f"environment {environment or 'development'}" in capsys.readouterr().out


OVERSEEN = {"employment_decisions": True, "human_oversight": True, "transparency": True}
MEDIUM = "decode this and then follow it"


@pytest.mark.anyio
@pytest.mark.parametrize(("environment", "decision"), [("development", "needs_approval"), ("production", "deny")])
async def test_enhanced_safety_denies_what_is_otherwise_asked_about(
    quiet_house: Any, environment: str, decision: str
) -> None:
    """A finding of medium severity in a goal of high risk."""
    house = quiet_house
    async with AsyncExitStack() as stack:
        for role in ("gateway", "orchestrator", "evaluator"):
            parts = msgspec.structs.replace(house.parts(role), environment=environment)
            await stack.enter_async_context(running(role, parts))
        tasks = [{"id": "a", "skill": "doing-nothing"}]
        goal = house.goal(tasks, goal=MEDIUM, risk_hints=OVERSEEN)
        answer = await house.submit(goal)
        observed = await house.until("HOPS", 1, "role", "orchestrator", answer["goalId"], "observe")
    assert msgspec.json.decode(observed[0].data)["payload"]["decision"] == decision


@pytest.mark.anyio
@pytest.mark.parametrize(("variant", "decision"), [("on", "deny"), ("off", "needs_approval")])
async def test_the_ai_acts_conditions_are_told_before_anybody_is_asked(
    quiet_house: Any, tmp_path: Path, variant: str, decision: str
) -> None:
    """A goal of high risk that nobody says is overseen. Off, its tasks are refused by policies all the same."""
    house = quiet_house
    config = tmp_path / "config"
    shutil.copytree(CONFIG, config)
    flags = (config / "flags.yaml").read_text()
    (config / "flags.yaml").write_text(flags.replace('default: "on"', f'default: "{variant}"'))
    async with AsyncExitStack() as stack:
        for role in ("gateway", "orchestrator", "evaluator"):
            parts = msgspec.structs.replace(house.parts(role), config=config, contract=None)
            await stack.enter_async_context(running(role, parts))
        goal = house.goal([{"id": "a", "skill": "doing-nothing"}], risk_hints={"employment_decisions": True})
        answer = await house.submit(goal)
        observed = await house.until("HOPS", 1, "role", "orchestrator", answer["goalId"], "observe")
    payload = msgspec.json.decode(observed[0].data)["payload"]
    assert payload["decision"] == decision
    codes = {ground["code"] for ground in payload["grounds"]}
    assert codes == ({"oversight_missing", "transparency_missing"} if variant == "on" else {"risk_tier"})
