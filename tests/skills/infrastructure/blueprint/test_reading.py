from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.skills.infrastructure.blueprint import quantities
from interlock.skills.infrastructure.blueprint.format import leaves, schema
from interlock.skills.infrastructure.blueprint.reading import MAX_BYTES, read_blueprint
from interlock.skills.infrastructure.blueprint.values import METRICS, defaults
from interlock.skills.infrastructure.blueprint.writing import document, flat_fields, yaml_text
from interlock.skills.infrastructure.operation_names import OPERATION_NAMES
from interlock.skills.schemas import schema_problem
from tests.skills.infrastructure.blueprint.arbitrary import blueprints

EXAMPLES = Path(__file__).parents[4] / "examples/03-blueprint/blueprints"
MINIMAL = b"""
apiVersion: infra.spec-driven.io/v1
kind: InfrastructureBlueprint
metadata: {name: api, version: 0.1.0}
spec:
  resources: {cpu: {request: 1, limit: 1.5}, memory: {request: 1Gi, limit: 1.5Gi}}
  scaling: {min_replicas: 1, max_replicas: 2}
"""


def test_the_least_that_is_a_blueprint() -> None:
    blueprint = read_blueprint(MINIMAL, source="b").blueprint
    assert blueprint is not None
    assert msgspec.to_builtins(blueprint.target) == {
        "namespace": "default",
        "kind": "Deployment",
        "name": "api",
        "container": "api",
    }
    assert (blueprint.resources.cpu.request_m, blueprint.resources.cpu.limit_m) == (1000, 1500)
    assert blueprint.resources.memory.limit_bytes == 3 << 29
    assert (blueprint.deployment, blueprint.helm, blueprint.governance.allowed_operations) == (None, None, ())


def test_defaults_are_those_of_the_schema() -> None:
    """What the model gives where a document is silent is what the schema says it gives."""
    blueprint = read_blueprint(MINIMAL, source="b").blueprint
    assert blueprint is not None
    fields = flat_fields(blueprint)
    optional = ("deployment.", "helm.")
    silent = {field: value for field, value in defaults().items() if not field.startswith(optional)}
    assert {field: fields[field] for field in silent} == silent


def test_defaults_of_optional_sections_are_those_of_the_schema() -> None:
    text = MINIMAL + b"  deployment: {strategy: RollingUpdate}\n  helm: {release: api, chart: charts/api}\n"
    blueprint = read_blueprint(text, source="b").blueprint
    assert blueprint is not None and blueprint.deployment is not None and blueprint.helm is not None
    assert blueprint.deployment.min_ready_seconds == defaults()["deployment.min_ready_seconds"]
    assert blueprint.deployment.revision_history_limit == defaults()["deployment.revision_history_limit"]
    assert (blueprint.helm.chart_version, blueprint.helm.values) == (defaults()["helm.chart_version"], ())


def test_the_schema_is_one_and_knows_every_name() -> None:
    assert schema_problem(schema()) == ""
    tiers = leaves()["spec.governance.agent_authority.allowed_operations"].schema["items"]["enum"]
    assert tiers == [entry.name for entry in OPERATION_NAMES]
    assert set(schema()["properties"]["spec"]["properties"]["metrics"]["properties"]["queries"]["properties"]) == set(
        METRICS
    )
    assert {leaf.quantity for leaf in leaves().values()} - {""} <= set(quantities.KINDS)


def test_every_value_of_the_model_can_be_written() -> None:
    blueprint = read_blueprint((EXAMPLES / "frontend/blueprint.yaml").read_bytes(), source="b").blueprint
    assert blueprint is not None
    known = {leaf.field for leaf in leaves().values()}
    assert set(flat_fields(blueprint)) - known - {"helm"} == set()


@pytest.mark.parametrize(
    "path", sorted(EXAMPLES.glob("*/**/*.yaml")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_examples_are_right_and_round_trip(path: Path) -> None:
    if path.parent.name == "governance":
        return
    reading = read_blueprint(path.read_bytes(), source=path.name)
    assert reading.told() == []
    assert reading.blueprint is not None
    again = read_blueprint(yaml_text(reading.blueprint), source="again")
    assert again.blueprint == reading.blueprint


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(blueprints())
def test_a_valid_blueprint_round_trips(text: str) -> None:
    first = read_blueprint(text, source="first")
    assert first.told() == []
    assert first.blueprint is not None
    second = read_blueprint(yaml_text(first.blueprint), source="second")
    assert (second.told(), second.blueprint) == ([], first.blueprint)
    assert second.blueprint is not None
    assert second.blueprint.digest == first.blueprint.digest
    assert document(second.blueprint) == document(first.blueprint)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_no_exception_escapes_for_any_bytes(data: bytes) -> None:
    reading = read_blueprint(data, source="b")
    assert reading.blueprint is None
    assert reading.problems


EXAMPLE = (EXAMPLES / "backend/blueprint.yaml").read_bytes()


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, len(EXAMPLE)),
    st.integers(0, 12),
    st.one_of(
        st.binary(max_size=8), st.sampled_from([b"{", b"}", b"[", b"- ", b"\t", b": ", b"&a ", b"*a", b"~", b"|"])
    ),
)
def test_no_exception_escapes_for_a_damaged_blueprint(at: int, cut: int, put: bytes) -> None:
    reading = read_blueprint(EXAMPLE[:at] + put + EXAMPLE[at + cut :], source="b")
    assert (reading.blueprint is None) == bool(reading.problems)
    lines = EXAMPLE.count(b"\n") + 20
    assert all(1 <= entry.line <= lines and entry.column >= 1 for entry in reading.problems)
    assert all("\n" not in line for line in reading.told())


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(sorted(leaves())), JSON)
def test_no_exception_escapes_for_any_value_anywhere(path: str, value: Any) -> None:
    """Also where a value is of quite another kind than the format asks for; a section may become one too."""
    blueprint = read_blueprint(EXAMPLE, source="b").blueprint
    assert blueprint is not None
    whole = document(blueprint)
    *sections, last = path.split(".")
    at = whole
    for section in sections:
        at = at.setdefault(section, {})
    at[last] = value
    reading = read_blueprint(msgspec.json.encode(whole), source="b")
    assert (reading.blueprint is None) == bool(reading.problems)


def test_what_is_too_large_is_refused_before_it_is_read() -> None:
    started = time.perf_counter()
    reading = read_blueprint(b"[" * (MAX_BYTES + 1), source="b")
    assert [entry.found for entry in reading.problems] == [f"this: {MAX_BYTES + 1} bytes; at most {MAX_BYTES}"]
    assert time.perf_counter() - started < 1
