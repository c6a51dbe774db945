"""An hour of a service to score by: night, morning, a plateau, a burst, evening; scaled to what its replicas can carry."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.agents.scoring.model import Subject
from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.blueprint.policies import Policies
from interlock.skills.infrastructure.simulation.service import usual_work_us
from interlock.skills.infrastructure.simulation.simulate import Step, steps
from interlock.skills.infrastructure.trace import Row, Trace

_STEP_S = 30
# Where throughput is no concern of the blueprint's, a request costs this much of the processor.
_WORK_US = 5_000
# (until minute, share of what max_replicas carry at the target utilisation, in percent)
_COURSE = ((10, 10), (18, 60), (28, 90), (31, 180), (44, 50), (60, 5))


def hour(blueprint: Blueprint) -> Trace:
    """Offered load only; everything else follows from the model of a service."""
    work_us = usual_work_us(blueprint) or _WORK_US
    cpu = blueprint.resources.cpu
    each_mrps = cpu.request_m * cpu.target_utilization_ppm // work_us
    whole = each_mrps * blueprint.scaling.max_replicas
    rows = []
    for at_s in range(0, 3_600 + _STEP_S, _STEP_S):
        percent = next((share for until, share in _COURSE if at_s < until * 60), _COURSE[-1][1])
        # A small saw, so that no two looks are alike.
        wobble = 97 + at_s // _STEP_S * 7 % 7
        rows.append(Row(at_ms=at_s * 1000, offered_mrps=whole * percent * wobble // 10_000, work_us=work_us))
    return Trace(tuple(rows), True)


def looks(blueprint: Blueprint, policies: Policies | None) -> Iterator[Step]:
    """The looks of that hour, one by one, with nobody there to approve anything."""
    return steps(blueprint, hour(blueprint), step_ms=_STEP_S * 1000, policies=policies)


def lived(blueprint: Blueprint, policies: Policies | None) -> Subject:
    """The service after its hour."""
    return Subject(blueprint=blueprint, policies=policies, steps=tuple(looks(blueprint, policies)))
