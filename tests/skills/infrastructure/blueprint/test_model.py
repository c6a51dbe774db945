from __future__ import annotations

from msgspec.structs import replace

from interlock.skills.infrastructure.blueprint.model import (
    WHOLE_PPM,
    Blueprint,
    Cpu,
    Memory,
    Resources,
    Scaling,
    TargetObject,
)
from interlock.skills.infrastructure.operation_names import BY_NAME, OPERATION_NAMES, TIERS
from interlock.skills.infrastructure.target import ContainerResources

FRONTEND = Blueprint(
    name="todo-frontend",
    version="1.0.0",
    target=TargetObject(namespace="default", kind="Deployment", name="todo-frontend", container="frontend"),
    resources=Resources(
        cpu=Cpu(request_m=50, limit_m=200), memory=Memory(request_bytes=128 << 20, limit_bytes=512 << 20)
    ),
    scaling=Scaling(min_replicas=1, max_replicas=5),
)


def test_the_digest_is_that_of_the_meaning() -> None:
    assert FRONTEND.digest == replace(FRONTEND).digest
    assert FRONTEND.digest != replace(FRONTEND, version="1.0.1").digest
    assert len(FRONTEND.digest) == 64


def test_what_a_container_asks_for_is_what_an_operation_writes() -> None:
    assert FRONTEND.resources.of_container() == ContainerResources(
        cpu_request_m=50, cpu_limit_m=200, memory_request_bytes=134_217_728, memory_limit_bytes=536_870_912
    )
    assert (FRONTEND.unread_target.uid, str(FRONTEND.unread_target)) == ("", "Deployment default/todo-frontend")


def test_shares_of_the_default_sum_to_one() -> None:
    assert sum(metric.weight_ppm for metric in FRONTEND.scaling.metrics) == WHOLE_PPM


def test_every_operation_name_is_told_once() -> None:
    assert len(BY_NAME) == len(OPERATION_NAMES)
    assert {entry.usual for entry in OPERATION_NAMES} == set(TIERS)
    assert {entry.instead for entry in OPERATION_NAMES} - {""} <= set(BY_NAME)
