"""What a halt covers, and that the order in which orders come makes no difference."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.bus.control.halts import Doing, Halts
from interlock.bus.control.orders import ControlOrder, Verb
from interlock.envelope.amounts import timestamp
from interlock.envelope.verdict import Decision, Reason

NOW = 1_763_700_000_000
GOAL = "019aa000-0000-7000-8000-000000000001"
DOING = Doing(
    agent="executor.2", sender="orchestrator", goal=GOAL, skill="x", input={"a": [{"place": "/srv/prod/db"}], "n": 1}
)


def order(scope: str, number: int = 1, verb: Verb = "halt", workspace: str = "w", why: str = "test") -> ControlOrder:
    return ControlOrder(
        workspace=workspace,
        scope=scope,
        verb=verb,
        why=why,
        by="human",
        at=timestamp(NOW + number),
        number=number,
        key_id="U" + "A" * 55,
    )


def halts(*orders: ControlOrder) -> Halts:
    taken = Halts()
    for one in orders:
        taken.take(one, stored=True)
    return taken


COVERED = ["everything", "workspace", "role:executor", "agent:executor.2", f"goal:{GOAL}", "skill:x"]
COVERED += ["role:orchestrator", "agent:orchestrator", "target:/srv/prod", "target:/srv/", "target:/srv/prod/db"]
OUTSIDE = ["role:evaluator", "agent:executor", "agent:executor.1", f"goal:{GOAL[:-1]}2", "skill:y"]
OUTSIDE += ["target:/srv/pro", "target:prod", "target:1"]


@pytest.mark.parametrize("scope", COVERED)
def test_a_halt_stops_what_it_covers_until_it_is_resumed(scope: str) -> None:
    verdict = halts(order(scope)).judge(DOING)
    assert verdict.decision is Decision.DENY
    assert verdict.grounds[0].code == Reason.HALTED
    assert scope in verdict.grounds[0].message
    assert "test" in verdict.grounds[0].message
    assert halts(order(scope), order(scope, 2, "resume")).judge(DOING).allowed


@pytest.mark.parametrize("scope", OUTSIDE)
def test_a_halt_stops_nothing_else(scope: str) -> None:
    assert halts(order(scope)).judge(DOING).allowed


def test_resuming_one_scope_leaves_the_others() -> None:
    both = halts(order("skill:x"), order("workspace"), order("workspace", 2, "resume"))
    assert [one.scope for one in both.in_force] == ["skill:x"]
    assert not both.judge(DOING).allowed


def test_everything_of_two_workspaces_are_two_halts() -> None:
    two = halts(order("everything"), order("everything", workspace="v"), order("everything", 2, "resume"))
    assert [one.workspace for one in two.in_force] == ["v"]
    assert not two.judge(DOING).allowed


def test_of_equal_numbers_that_which_is_stored_counts() -> None:
    taken = Halts()
    assert taken.take(order("workspace", why="heard"), stored=False)
    assert not taken.take(order("workspace", verb="resume"), stored=False)
    assert taken.take(order("workspace", verb="resume"), stored=True)
    assert taken.judge(DOING).allowed
    assert not taken.take(order("workspace", verb="resume"), stored=True)


@given(st.lists(st.sampled_from(["halt", "resume"]), min_size=1, max_size=5), st.randoms())
def test_the_last_number_counts_in_whatever_order_they_come(verbs: list[Verb], random: object) -> None:
    orders = [order("workspace", number + 1, verb) for number, verb in enumerate(verbs)]
    for shuffled in list(permutations(orders))[:24]:
        taken = halts(*shuffled, *orders)
        assert taken.judge(DOING).allowed == (verbs[-1] == "resume")
        assert taken.number("w", "workspace") == len(orders)


def test_a_call_for_help_of_a_halted_agent_is_heard() -> None:
    assert halts(order("role:orchestrator")).judge(Doing(agent="auditor", sender="")).allowed
