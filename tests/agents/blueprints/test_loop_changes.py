"""A blueprint that changes, breaks or goes away while its service is watched, asked about or verified."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from tests.agents.blueprints.places import APPROVED, TEXT, Place

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("halts", [False, True])
async def test_a_change_while_a_human_is_asked_withdraws_the_goal_and_decides_anew(
    make: Callable[..., Place], halts: bool
) -> None:
    place = make()
    place.write("web", APPROVED)
    place.goals.approve, place.goals.halts = None, halts
    place.cluster.load["web"] = 95
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(place.look)
            await place.goals.asked.wait()
            place.write("web", TEXT)  # what was asked for is now allowed
    (asked, _), (anew, goal) = place.goals.ran
    assert [goal_id for goal_id, _ in place.goals.withdrawn] == [asked] != [anew]
    assert place.goals.withdrawn[0][1].startswith("blueprint_changed: ")
    assert goal["playbook"] == "blueprint-action"
    assert place.cluster.replicas["web"] == 3  # once: by the new goal
    assert place.outcomes == [("scale_up", "withdrawn")]
    assert any(told.kind == "withdrawn" and asked in told.text for told in place.told)


async def test_a_change_to_a_broken_blueprint_withdraws_too_and_nothing_follows(make: Callable[..., Place]) -> None:
    place = make()
    place.write("web", APPROVED)
    place.goals.approve = None
    place.cluster.load["web"] = 95
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(place.look)
            await place.goals.asked.wait()
            place.write("web", TEXT.replace("100m", "100 m"))
    await place.look(3)
    assert (len(place.goals.ran), place.cluster.replicas["web"]) == (1, 2)
    place.write("web", TEXT)
    await place.look()
    assert place.cluster.replicas["web"] == 3


async def test_a_change_while_the_watcher_is_down_withdraws_what_it_had_asked(make: Callable[..., Place]) -> None:
    place = make()
    place.write("web", APPROVED)
    place.goals.approve = None
    place.cluster.load["web"] = 95
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(place.look)
            await place.goals.asked.wait()
            group.cancel_scope.cancel()
        place.write("web", TEXT)
        place.restart()
        await place.look()
    first, again, anew = [goal_id for goal_id, _ in place.goals.ran]
    assert first == again != anew
    assert ("scale_up", "withdrawn") in place.outcomes
    assert place.cluster.replicas["web"] == 3


async def test_a_change_while_something_is_verified_is_decided_by_at_once_and_done_later(
    make: Callable[..., Place],
) -> None:
    place = make()
    place.cluster.load["web"] = 95
    await place.look()
    place.write("web", TEXT.replace("min_replicas: 1", "min_replicas: 5"))
    await place.look()
    (record,) = place.log.records()
    blueprint = place.watched[0].service.blueprint
    assert blueprint is not None and record.blueprint.digest == blueprint.digest
    assert record.outcome == "held"
    assert {reason.code for reason in record.decision.reasons} >= {"below_min", "verifying"}
    assert place.cluster.replicas["web"] == 3
    await place.look(4)
    assert ("scale_up", "success") in place.outcomes
    assert place.cluster.replicas["web"] == 5


async def test_what_was_done_is_verified_even_if_its_blueprint_is_broken_since(make: Callable[..., Place]) -> None:
    place = make()
    place.cluster.load["web"] = 95
    await place.look()
    place.cluster.ready["web"] = 2
    place.write("web", TEXT.replace("100m", "100 m"))
    await place.look(5)
    assert place.cluster.replicas["web"] == 2
    assert place.outcomes == [("scale_up", "rolled_back")]
    assert place.goals.ran[-1][1]["inputs"]["blueprint"]["text"] == TEXT.replace("NAME", "web")


async def test_a_changed_blueprint_is_in_force_at_the_next_look(make: Callable[..., Place]) -> None:
    place = make()
    await place.look(2)
    place.write("web", TEXT.replace("version: 1.0.0", "version: 1.1.0").replace("min_replicas: 1", "min_replicas: 4"))
    await place.look()
    assert any(told.kind == "blueprint" and told.text.startswith("blueprint 1.1.0") for told in place.told)
    assert place.cluster.replicas["web"] > 2
    assert place.goals.ran[0][1]["constraints"][0].startswith("blueprint web 1.1.0")


async def test_a_broken_blueprint_stops_its_service_until_it_is_right(make: Callable[..., Place]) -> None:
    place = make()
    place.cluster.load["web"] = 95
    place.write("web", TEXT.replace("100m", "100 m"))
    await place.look(3)
    problems = [told.text for told in place.told if told.kind == "problem"]
    assert len(problems) == 1 and "write `100m`" in problems[0]
    assert (place.goals.ran, place.outcomes) == ([], [])
    place.write("web", TEXT)
    await place.look()
    assert place.cluster.replicas["web"] == 3


async def test_a_blueprint_that_goes_away_stops_its_service_and_no_other(make: Callable[..., Place]) -> None:
    place = make(names=("a", "b"))
    await place.look()
    (place.root / "a/blueprint.yaml").unlink()
    place.cluster.load |= {"a": 95, "b": 95}
    await place.look(2)
    assert (place.cluster.replicas["a"], place.cluster.replicas["b"]) == (2, 3)
    assert [told.service for told in place.told if told.kind == "problem"] == ["a"]
    place.write("a", TEXT)
    await place.look()
    assert place.cluster.replicas["a"] == 3


async def test_a_service_is_remembered_under_its_name_while_its_blueprint_is_broken(make: Callable[..., Place]) -> None:
    place = make()
    place.write("web", TEXT.replace("NAME", "shop"))
    place.restart()
    place.cluster.load["shop"] = 95
    await place.look()
    place.write("web", "broken: [")
    await place.look(6)
    assert place.watched[0].name == "shop"
    assert {file.name for file in (place.root / "keep").glob("[a-z]*.json")} == {"shop.json"}
