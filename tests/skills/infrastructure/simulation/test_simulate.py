"""A trace against a blueprint: what follows from load, what from measurements, and what is drawn."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import msgspec
import pytest

from interlock.skills.errors import SkillsError
from interlock.skills.infrastructure.blueprint.model import Blueprint, Governance
from interlock.skills.infrastructure.simulation.drawing import draw
from interlock.skills.infrastructure.simulation.service import STARTUP_MS, Service, usual_work_us
from interlock.skills.infrastructure.simulation.simulate import Simulation, simulate, summarise
from interlock.skills.infrastructure.trace import Trace, read_trace
from tests.skills.infrastructure.decision.services import MIB, blueprint

REPLACE = msgspec.structs.replace
FREE = Governance(
    allowed_operations=("scale_within_limits", "restart_failed_pods"),
    requires_approval=("change_resource_limits_beyond_10_percent",),
)
WANTED = {"throughput_target_mrps": 100_000, "latency_p95_us": 200_000}


def service(**scaling: Any) -> Blueprint:
    """One replica carries 100 req/s at 70 % of its 100 m: a request takes 0.7 ms of processor, the limit is 571 req/s."""
    like = blueprint(performance=WANTED, target_replicas=1, **scaling)
    return REPLACE(like, governance=FREE)


def offered(*levels: tuple[int, int], every_s: int = 15) -> Trace:
    """(minutes, req/s) one after the other."""
    rates = [rate for minutes, rate in levels for _ in range(minutes * 60 // every_s)]
    lines = "".join(f"{index * every_s},{rate}\n" for index, rate in enumerate(rates))
    return read_trace(f"time_s,offered_rps\n{lines}".encode(), source="offered.csv")


def replicas_at(simulation: Simulation, minute: int) -> int:
    return next(step.state.replicas for step in simulation.steps if step.state.at_ms >= minute * 60_000)


def test_more_load_makes_more_replicas_and_they_carry_it() -> None:
    simulation = simulate(service(), offered((5, 50), (15, 300), (15, 20)))
    assert simulation.fed_back
    assert replicas_at(simulation, 4) == 1
    assert replicas_at(simulation, 19) == 3, "300 req/s at 0.7 ms are 210 m: 70 % of 3 requests"
    last = simulation.steps[-1]
    assert last.state.replicas == 1
    assert last.decision.kind == "hold"
    summary = summarise(simulation)
    assert (summary.scale_ups, summary.scale_downs, summary.turns) == (2, 2, 1)
    assert summary.most_replicas == 3


def test_measurements_are_taken_as_they_are() -> None:
    lines = "".join(f"{t},90,64,100,100\n" for t in range(0, 600, 15))
    trace = read_trace(f"time_s,cpu_m,memory_mib,latency_p95_ms,throughput_rps\n{lines}".encode(), source="m.csv")
    simulation = simulate(service(max_replicas=4), trace)
    assert not simulation.fed_back
    assert simulation.steps[-1].state.replicas == 4, "cpu stays at 90 % whatever is done"
    assert {step.decision.now.get("cpu_utilization_ppm") for step in simulation.steps} == {900_000}


def test_a_hole_in_the_measurements_is_missing_not_zero() -> None:
    rows = [f"{t},{5 if t < 600 else ''},5,10,10" for t in range(0, 1200, 15)]
    trace = read_trace(
        ("time_s,cpu_m,memory_mib,latency_p95_ms,throughput_rps\n" + "\n".join(rows)).encode(), source="m.csv"
    )
    simulation = simulate(service(), trace, replicas=5)
    for step in simulation.steps:
        if step.state.at_ms >= 600_000:
            assert step.decision.kind == "hold"
            assert "cpu" in " ".join(reason.text for reason in step.decision.reasons)
    assert any(step.decision.kind == "scale_down" for step in simulation.steps)


def test_old_rows_go_stale() -> None:
    trace = read_trace(
        b"time_s,cpu_m,memory_mib,latency_p95_ms,throughput_rps\n0,95,5,10,10\n600,95,5,10,10\n", source="m.csv"
    )
    simulation = simulate(service(), trace)
    acted = [step.state.at_ms for step in simulation.steps if step.decision.operation is not None]
    assert all(at_ms <= 120_000 or at_ms >= 600_000 for at_ms in acted)


def test_governance_is_asked() -> None:
    forbidden = REPLACE(service(), governance=Governance())
    simulation = simulate(forbidden, offered((5, 300)))
    assert {step.fate for step in simulation.steps if step.decision.operation is not None} == {"forbidden"}
    assert summarise(simulation).most_replicas == 1
    steady = offered((40, 70))
    asking = summarise(simulate(service(), steady))
    assert asking.would_ask == 1, "asked once, not at every look"
    given = simulate(service(), steady, approve=True)
    assert summarise(given).other_actions >= 1
    memory = given.steps[-1].state.resources
    assert memory is not None
    assert (memory.memory_request_bytes or 0) < 100 * MIB


def test_a_pile_up_is_late_and_then_given_up() -> None:
    like = service(max_replicas=1)
    simulation = simulate(like, offered((1, 50), (10, 900)))
    late = [s.value for s in simulation.steps[10].state.metrics if s.name == "latency_p95_us"]
    assert late[0] > 200_000
    assert simulation.steps[10].broken == ("latency_p95_us",)
    errors = [s.value for s in simulation.steps[-1].state.metrics if s.name == "error_rate_ppm"]
    assert errors[0] == pytest.approx(1_000_000 * (900 - 571.43) / 900, rel=0.02)


def test_new_pods_do_not_serve_at_once() -> None:
    made = Service(service(), 1, 0, None)
    made.scale(3, 0)
    assert made.serving(STARTUP_MS - 1) == 1
    assert made.serving(STARTUP_MS) == 3
    made.scale(2, STARTUP_MS)
    assert [pod.name for pod in made.pods] == ["todo-frontend-1", "todo-frontend-2"]


def test_what_a_request_costs_follows_from_the_throughput_or_is_asked_for() -> None:
    assert usual_work_us(service()) == 700
    bare = REPLACE(blueprint(), governance=FREE)
    with pytest.raises(SkillsError, match="work_ms"):
        simulate(bare, offered((1, 50)))
    rows = b"time_s,offered_rps,work_ms\n0,50,0.7\n15,50,0.7\n"
    assert simulate(bare, read_trace(rows, source="w.csv")).steps[-1].decision.now["throughput_mrps"] == 50_000


def test_it_begins_with_the_replicas_that_are_named_even_none_at_all() -> None:
    rows = b"time_s,offered_rps,replicas\n0,50,3\n15,50,\n"
    like, trace = service(), read_trace(rows, source="r.csv")
    assert [step.state.replicas for step in simulate(like, trace).steps] == [3, 3]
    assert [step.state.replicas for step in simulate(like, trace, replicas=0).steps] == [0, 1], "below min_replicas"


def test_too_many_steps_are_refused() -> None:
    trace = read_trace(b"time_s,offered_rps\n0,1\n999999999,1\n", source="long.csv")
    with pytest.raises(SkillsError, match="20000 steps"):
        simulate(service(), trace)


@pytest.mark.parametrize("mode", ["thresholds", "target_utilization"])
def test_the_drawing_is_the_same_every_time_and_names_what_it_shows(mode: str) -> None:
    simulation = simulate(service(mode=mode), offered((2, 50), (5, 300)))
    drawn = draw(simulation)
    assert drawn == draw(simulate(service(mode=mode), offered((2, 50), (5, 300))))
    root = ET.fromstring(drawn)
    assert root.tag.endswith("svg")
    assert b"<dc:date>" not in drawn
    comments = drawn.decode()
    for label in ("Load", "Latency p95", "Replicas", "max_replicas", "scale up", "todo-frontend 1.0.0"):
        assert f"<!-- {label}" in comments, label


def test_one_look_can_be_drawn() -> None:
    trace = read_trace(b"time_s,cpu_m\n0,\n", source="one.csv")
    assert draw(simulate(service(), trace)).startswith(b"<?xml")
