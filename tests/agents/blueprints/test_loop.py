"""The loop over services in variables: what acts, what is held, what is asked again after a crash. Real skills decide,
govern and verify; the time is a clock's that stands still.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from interlock.agents.blueprints.decision_log import DecisionLog, chained
from interlock.skills.infrastructure.decision.record import encode_record
from tests.agents.blueprints.places import APPROVED, TEXT, Place

pytestmark = pytest.mark.anyio


async def test_a_load_is_answered_verified_and_written_down(make: Callable[..., Place]) -> None:
    place = make()
    place.cluster.load["web"] = 95
    await place.look()
    assert place.cluster.replicas["web"] == 3
    assert place.outcomes == []  # not before it is verified
    place.cluster.load["web"] = 60
    await place.look(5)
    assert ("scale_up", "success") in place.outcomes
    (record,) = [record for record in place.log.records() if record.outcome == "success"]
    assert record.decision.governance_check.operation == "scale_within_limits"
    assert record.decision.governance_check.rule == "spec.governance.agent_authority.allowed_operations"
    assert "spec.scaling.scale_up_threshold" in record.decision.blueprint_references
    assert record.verification is not None and record.verification.targets_met
    assert record.verification.wait_ms >= 60_000
    assert [goal["playbook"] for _, goal in place.goals.ran] == ["blueprint-action", "blueprint-verification"]


async def test_every_look_without_an_action_is_written_down_too(make: Callable[..., Place]) -> None:
    place = make()
    await place.look(4)
    assert place.outcomes == [("hold", "held")] * 4
    assert place.goals.ran == []


async def test_what_does_not_become_ready_is_taken_back_within_the_minute(make: Callable[..., Place]) -> None:
    place = make()
    place.cluster.load["web"] = 95
    await place.look()
    place.cluster.ready["web"] = 2
    await place.look(4)
    assert place.cluster.replicas["web"] == 2
    assert ("scale_up", "rolled_back") in place.outcomes
    (record,) = [record for record in place.log.records() if record.outcome == "rolled_back"]
    assert record.verification is not None
    assert "2 of 3 pods are ready" in record.verification.rationale
    assert record.verification.wait_ms <= 75_000


async def test_three_failures_open_the_breaker_and_only_a_human_closes_it(make: Callable[..., Place]) -> None:
    place = make()
    place.cluster.load["web"] = 95

    async def fail() -> None:
        place.cluster.ready["web"] = 2
        await place.look(6)

    while not place.watched[0].memory.history.breaker.open:
        await fail()
    goals = len(place.goals.ran)
    assert goals == 6  # three actions, three verifications
    assert any(told.kind == "breaker" and "a human must reset it" in told.text for told in place.told)
    await place.look(20)
    assert len(place.goals.ran) == goals
    assert any(reason.code == "breaker_open" for reason in place.log.records()[-1].decision.reasons)
    place.restart()
    await place.look(20)
    assert len(place.goals.ran) == goals
    for order in (b"ada", place.order(service="api"), place.order(by="executor"), place.order(ago_ms=-120_000)):
        place.leave(order)
        await place.look()
        assert place.watched[0].memory.history.breaker.open
    assert [told.text.split(": ")[1] for told in place.told if "stays as it is" in told.text] == [
        "malformed",
        "policy_denied",
        "policy_denied",
        "from_future",
    ]
    assert len(place.goals.ran) == goals
    order = place.order(why="a quota was full")
    place.leave(order)
    place.cluster.ready.clear()
    await place.look(3)
    assert len(place.goals.ran) == goals + 1
    assert any(told.kind == "breaker" and "closed by human: a quota was full" in told.text for told in place.told)
    assert (place.root / "log/orders.jsonl").read_bytes() == order + b"\n"
    place.leave(order)
    await place.look()
    assert any("replayed" in told.text for told in place.told)


async def test_failures_of_several_services_stop_all_of_them(make: Callable[..., Place]) -> None:
    place = make(names=("a", "b", "c", "d"))
    place.goals.act = lambda: {"status": "unknown", "detail": "no answer"}
    for name in "abc":
        place.cluster.load[name] = 95
    await place.look()
    assert len(place.goals.ran) == 3
    place.goals.act = None
    place.cluster.load["d"] = 95
    await place.look(3)
    assert len(place.goals.ran) == 3
    held = [record for record in place.log.records() if record.blueprint.name == "d"][-1]
    assert "breaker of all services is open" in held.decision.rationale
    assert sum(told.kind == "escalation" for told in place.told) == 3


async def test_services_do_not_meddle_with_each_other(make: Callable[..., Place]) -> None:
    place = make(names=("a", "b"))
    place.cluster.load |= {"a": 95, "b": 50}
    await place.look(6)
    assert place.cluster.replicas["a"] > 2
    assert place.cluster.replicas["b"] == 2
    assert {goal["inputs"]["blueprint"]["source"] for _, goal in place.goals.ran} == {"a/blueprint.yaml"}


async def test_what_needs_an_approval_is_asked_once_and_not_again_for_an_hour(make: Callable[..., Place]) -> None:
    place = make()
    place.write("web", APPROVED)
    place.goals.approve = False
    place.cluster.load["web"] = 95
    await place.look(10)
    assert [goal["playbook"] for _, goal in place.goals.ran] == ["blueprint-approved-action"]
    assert place.outcomes.count(("scale_up", "rejected")) >= 2
    assert place.cluster.replicas["web"] == 2
    await place.cluster.pass_time(3_600_000)
    place.goals.approve = True
    await place.look()
    assert place.cluster.replicas["web"] == 3
    assert "deadline" in place.goals.ran[-1][1]


async def test_a_goal_that_decides_something_else_does_nothing(make: Callable[..., Place]) -> None:
    place = make()
    place.cluster.load["web"] = 95
    run = place.goals.run

    async def other(goal: dict[str, Any], goal_id: str) -> Any:
        return await run(goal | {"inputs": goal["inputs"] | {"expected": "0" * 64}}, goal_id)

    place.goals.run = other  # type: ignore[method-assign]  # a double
    await place.look()
    assert place.cluster.replicas["web"] == 2
    assert place.outcomes == [("scale_up", "blocked")]
    assert any("decided-otherwise" in told.text for told in place.told)


async def test_a_goal_whose_record_names_another_decision_is_not_believed(make: Callable[..., Place]) -> None:
    place = make()
    place.cluster.load["web"] = 95
    place.goals.tampered = "decision-of-somebody-else"
    await place.look()
    assert place.outcomes == [("scale_up", "unknown")]
    assert any(told.kind == "escalation" and "something else" in told.text for told in place.told)


async def test_who_approved_is_in_the_log(make: Callable[..., Place]) -> None:
    place = make()
    place.write("web", APPROVED)
    place.cluster.load["web"] = 95
    await place.look()
    place.cluster.load["web"] = 50
    await place.look(5)
    (record,) = [record for record in place.log.records() if record.outcome == "success"]
    check = record.decision.governance_check
    assert (check.status, check.approved_by) == ("requires_approval", "human")


async def test_what_is_forbidden_is_blocked_by_the_goal_and_told_with_its_rule(make: Callable[..., Place]) -> None:
    place = make()
    place.write(
        "web", TEXT.replace("allowed_operations: [scale_within_limits]", "forbidden_operations: [scale_within_limits]")
    )
    place.cluster.load["web"] = 95
    await place.look(4)
    assert place.cluster.replicas["web"] == 2
    assert len(place.goals.ran) == 1
    assert place.outcomes == [("scale_up", "blocked")] * 4
    check = place.log.records()[0].decision.governance_check
    assert (check.status, check.rule) == ("forbidden", "spec.governance.agent_authority.forbidden_operations")


async def test_shadow_decides_and_logs_and_runs_no_goal(make: Callable[..., Place]) -> None:
    place = make(mode="shadow")
    place.cluster.load["web"] = 95
    await place.look(3)
    assert place.goals.ran == []
    assert place.cluster.replicas["web"] == 2
    assert place.outcomes[0] == ("scale_up", "shadow")
    execution = place.log.records()[0].execution
    assert execution is not None and execution.status == "shadow"


async def test_a_dry_run_is_asked_of_the_cluster_and_changes_nothing(make: Callable[..., Place]) -> None:
    place = make(mode="dry_run")
    place.goals.act = lambda: {"status": "dry_run"}
    place.cluster.load["web"] = 95
    await place.look()
    assert place.goals.ran[0][1]["inputs"]["dryRun"] is True
    assert place.outcomes == [("scale_up", "shadow")]
    assert place.watched[0].memory.pending is None


async def test_after_a_crash_the_same_goal_is_asked_for_again(make: Callable[..., Place]) -> None:
    place = make()
    place.cluster.load["web"] = 95
    place.goals.crash_before_end = True
    with pytest.raises(ConnectionError):
        await place.look()
    place.restart()
    place.goals.act = lambda: {"undo": {"before": {"web": 2}}}  # the broker remembers the goal: it is not done twice
    await place.look()
    first, second = place.goals.ran
    assert first == second
    assert place.watched[0].memory.pending is not None


async def test_a_restart_between_action_and_verification_verifies(make: Callable[..., Place]) -> None:
    place = make()
    place.cluster.load["web"] = 95
    await place.look()
    place.restart()
    place.cluster.load["web"] = 60
    await place.look(5)
    assert ("scale_up", "success") in place.outcomes


async def test_what_cannot_be_seen_is_left_alone(make: Callable[..., Place]) -> None:
    place = make()
    place.cluster.blind = True
    await place.look(3)
    assert (place.goals.ran, place.outcomes) == ([], [])
    assert all("nothing is done" in told.text for told in place.told)


async def test_a_refusal_because_the_object_changed_is_decided_anew(make: Callable[..., Place]) -> None:
    place = make()
    place.cluster.load["web"] = 95
    place.goals.act = lambda: {"status": "refused", "reason": "object_changed", "detail": "changed since"}
    await place.look()
    place.goals.act = None
    await place.look(6)
    assert place.cluster.replicas["web"] == 3


async def test_the_log_is_a_chain_that_goals_vouch_for(make: Callable[..., Place]) -> None:
    place = make()
    await place.look(3)
    head = place.log.head
    place.cluster.load["web"] = 95
    await place.look()
    assert place.goals.ran[0][1]["inputs"]["log"] == {"head": head, "count": 3}
    again = "0" * 64
    for record in place.log.records()[:3]:
        again = chained(again, encode_record(record) + b"\n")
    assert again == head
    assert DecisionLog(place.root / "log").head == place.log.head
    (file,) = (place.root / "log").glob("*.jsonl")
    assert re.fullmatch(r"web-2026-02-10\.jsonl", file.name)
    assert all(json.loads(line)["blueprint"]["name"] == "web" for line in file.read_text().splitlines())


async def test_days_that_are_too_old_are_deleted(make: Callable[..., Place]) -> None:
    place = make()
    await place.look()
    old = place.root / "log" / "web-2025-11-11.jsonl"
    kept = place.root / "log" / "web-2025-11-13.jsonl"
    other = place.root / "log" / "web-admin-2025-11-11.jsonl"
    for path in (old, kept, other):
        path.write_text("")
    blueprint = place.watched[0].service.blueprint
    assert blueprint is not None
    place.log.prune(blueprint, place.cluster.now_ms())
    assert [path.exists() for path in (old, kept, other)] == [False, True, True]


async def test_goals_are_what_the_gateway_takes(make: Callable[..., Any]) -> None:
    """The intake of every goal that the loop composed passes the same check as anybody's."""
    from interlock.agents.intake.validate import Accepted, read_intake
    from interlock.agents.planning.catalogue import load_catalogue
    from tests.skills.bundled.playbook_run import CONFIG

    place = make()
    place.write("web", APPROVED)
    place.cluster.load["web"] = 95
    await place.look(6)
    assert len(place.goals.ran) >= 2
    catalogue = load_catalogue(CONFIG, [], [])
    for _, goal in place.goals.ran:
        found = read_intake(
            json.dumps(goal).encode(), now_ms=place.cluster.now_ms(), max_ttl_ms=3_600_000, catalogue=catalogue
        )
        assert isinstance(found, Accepted), found


async def test_what_the_cluster_refuses_for_good_is_not_asked_at_every_look(make: Callable[..., Place]) -> None:
    place = make()
    place.cluster.load["web"] = 95
    place.goals.act = lambda: {"status": "refused", "reason": "owned_by_git", "detail": "Flux keeps it"}
    place.goals.proposals = {"todo-web.yaml": b"spec: {}\n"}
    await place.look(10)
    assert len(place.goals.ran) == 1
    assert (place.root / "proposals/todo-web.yaml").read_bytes() == b"spec: {}\n"
    assert any(told.kind == "proposal" and "proposals/todo-web.yaml" in told.text for told in place.told)
    record = place.log.records()[0]
    assert record.execution is not None
    assert (record.outcome, record.execution.status) == ("blocked", "refused")


async def test_two_hundred_services_in_one_watcher(make: Callable[..., Place]) -> None:
    """No cross-talk, and a look takes at most 50 ms of processor time (p95)."""
    names = tuple(f"s{number:03}" for number in range(200))
    place = make(names=names, mode="shadow")
    for number, name in enumerate(names):
        place.cluster.load[name] = 95 if number % 4 == 0 else 50
    took_s = []
    for watched in place.watched * 2:
        began = time.process_time()
        await place.loop.look(watched)
        took_s.append(time.process_time() - began)
    assert sorted(took_s)[int(len(took_s) * 0.95)] < 0.050
    first = {record.blueprint.name: record for record in reversed(place.log.records())}
    assert set(first) == set(names)
    ups = {name for name, record in first.items() if record.decision.type == "scale_up"}
    assert ups <= set(names[::4])
    assert len(ups) >= 1
    assert all(record.target == f"Deployment default/{name}" for name, record in first.items())
