"""Where traces go, by the standard OTEL_* variables of OpenTelemetry's specification. Nothing set: no traces at all."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
HTTP = "http/protobuf"
MAX_QUEUE = 65_536


class TraceSettings(Struct, frozen=True, kw_only=True):
    """ratio: the share of traces that is exported in any case. max_queue, max_batch, delay_ms: of the batches, as OTEL_BSP_*
    has them. max_value: longest attribute value.
    """

    ratio: float = 1.0
    max_queue: int = 2_048
    max_batch: int = 512
    delay_ms: int = 5_000
    max_value: int = 4_096


def trace_settings(environment: Mapping[str, str]) -> tuple[TraceSettings | None, list[str]]:
    """(settings, what cannot be followed): None where traces are not wanted. What cannot be followed falls back to the
    default, as the specification asks.
    """
    given = {name: value.strip() for name, value in environment.items() if name.startswith("OTEL_") and value.strip()}
    exporters = given.get("OTEL_TRACES_EXPORTER", "")
    wanted = exporters == "otlp" or (not exporters and any(name in given for name in ENDPOINTS))
    problems: list[str] = []
    if exporters not in ("", "otlp", "none"):
        problems.append(f"OTEL_TRACES_EXPORTER {exporters[:40]}: only otlp and none are known; no traces")
    if given.get("OTEL_SDK_DISABLED", "").lower() == "true" or not wanted:
        return None, problems
    protocol = next((given[name] for name in PROTOCOLS if name in given), HTTP)
    if protocol != HTTP:
        problems.append(f"the OTLP protocol {protocol[:40]} is not known; {HTTP} is used")
    settings = TraceSettings(
        ratio=_ratio(given, problems),
        max_queue=_number(given, "OTEL_BSP_MAX_QUEUE_SIZE", 2_048, MAX_QUEUE, problems),
        max_batch=_number(given, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512, MAX_QUEUE, problems),
        delay_ms=_number(given, "OTEL_BSP_SCHEDULE_DELAY", 5_000, 600_000, problems),
        max_value=_number(given, "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", 4_096, 65_536, problems),
    )
    return settings, problems


def _ratio(given: Mapping[str, str], problems: list[str]) -> float:
    sampler = given.get("OTEL_TRACES_SAMPLER", "parentbased_always_on").removeprefix("parentbased_")
    if sampler == "always_on":
        return 1.0
    if sampler == "always_off":
        return 0.0
    if sampler != "traceidratio":
        problems.append(f"OTEL_TRACES_SAMPLER {sampler[:40]} is not known; all traces are exported")
        return 1.0
    argument = given.get("OTEL_TRACES_SAMPLER_ARG", "1")
    try:
        ratio = float(argument)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        problems.append(f"OTEL_TRACES_SAMPLER_ARG {argument[:40]} is no share between 0 and 1; all traces are exported")
        return 1.0
    return ratio


def _number(given: Mapping[str, str], name: str, default: int, most: int, problems: list[str]) -> int:
    text = given.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= most:
        problems.append(f"{name} {text[:40]} is no number between 1 and {most}; {default} is used")
        return default
    return int(text)
