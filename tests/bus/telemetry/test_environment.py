"""OTEL_* as OpenTelemetry's specification has it: nothing set is nothing done, and what cannot be followed is told."""

from __future__ import annotations

import pytest

from interlock.bus.telemetry.environment import TraceSettings, trace_settings

ON = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "  "},
        ON | {"OTEL_SDK_DISABLED": "true"},
        ON | {"OTEL_SDK_DISABLED": "TRUE"},
        ON | {"OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_SERVICE_NAME": "x"},
    ],
)
def test_off(environment: dict[str, str]) -> None:
    assert trace_settings(environment) == (None, [])


@pytest.mark.parametrize(
    "environment",
    [ON, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://h/v1/traces"}, {"OTEL_TRACES_EXPORTER": "otlp"}],
)
def test_on(environment: dict[str, str]) -> None:
    assert trace_settings(environment) == (TraceSettings(), [])


@pytest.mark.parametrize(
    ("more", "ratio"),
    [
        ({}, 1.0),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, 0.0),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, 1.0),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"}, 0.25),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}, 0.0),
        ({"OTEL_TRACES_SAMPLER": "traceidratio"}, 1.0),
    ],
)
def test_the_sampler(more: dict[str, str], ratio: float) -> None:
    settings, problems = trace_settings(ON | more)
    assert settings is not None and settings.ratio == ratio and problems == []


@pytest.mark.parametrize(
    "more",
    [
        {"OTEL_TRACES_SAMPLER": "jaeger_remote"},
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"},
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "many"},
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "nan"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_BSP_MAX_QUEUE_SIZE": "0"},
        {"OTEL_BSP_MAX_QUEUE_SIZE": "-5"},
        {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "many"},
        {"OTEL_BSP_SCHEDULE_DELAY": "9" * 30},
        {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "٣"},
    ],
)
def test_what_cannot_be_followed_is_told_and_the_default_stands(more: dict[str, str]) -> None:
    settings, problems = trace_settings(ON | more)
    assert settings == TraceSettings() and len(problems) == 1
    assert next(iter(more)).split("_")[1] in problems[0] or "protocol" in problems[0]


def test_an_exporter_that_is_not_known_is_told_and_nothing_is_traced() -> None:
    settings, problems = trace_settings(ON | {"OTEL_TRACES_EXPORTER": "zipkin"})
    assert settings is None and "zipkin" in problems[0]


def test_the_batches() -> None:
    more = {"OTEL_BSP_MAX_QUEUE_SIZE": "10", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "5", "OTEL_BSP_SCHEDULE_DELAY": "20"}
    settings, problems = trace_settings(ON | more)
    assert settings is not None and not problems
    assert (settings.max_queue, settings.max_batch, settings.delay_ms) == (10, 5, 20)
