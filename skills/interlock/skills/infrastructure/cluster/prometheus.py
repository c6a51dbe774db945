"""Service metrics from the Prometheus HTTP API (instant queries) with the queries of a blueprint."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from interlock.skills.errors import SkillsError
from interlock.skills.infrastructure.blueprint.model import Blueprint, MetricQuery
from interlock.skills.infrastructure.observed import MetricName, Sample

# Answers are in base units (Prometheus: "Metric and label naming"), samples are integers.
_FACTORS: dict[MetricName, int] = {
    "latency_p50_us": 1_000_000,
    "latency_p95_us": 1_000_000,
    "latency_p99_us": 1_000_000,
    "throughput_mrps": 1_000,
    "error_rate_ppm": 1_000_000,
    "availability_ppm": 1_000_000,
    "queue_depth": 1,
}
_LARGEST = 2**53
_ENDING = "\\\"'`"
_SELECTOR = re.compile(r"^\s*[a-zA-Z_:][\w:]*\s*(\{[^{}]*\})?\s*$")
_MOST_BYTES = 1024 * 1024


class Answer(Struct, frozen=True, kw_only=True):
    """One query. sample: what it gave; trouble: why there is none (empty: it has no value now)."""

    metric: MetricName
    sample: Sample | None
    trouble: str = ""


class Prometheus:
    """One server. url: `http://prometheus:9090`, with the path prefix if it has one. headers: for authorization."""

    def __init__(
        self, url: str, *, timeout_s: float = 5.0, headers: Mapping[str, str] | None = None, trust: Any = None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise SkillsError("prometheus_url_wrong", f"{url!r} is no URL of a Prometheus", "Write http://host:port")
        self._url = url.rstrip("/") + "/api/v1/query"
        self._timeout_s = timeout_s
        self._headers = dict(headers or {})
        self._trust = trust

    async def ask(self, blueprint: Blueprint, queries: Sequence[MetricQuery]) -> list[Answer]:
        """Each query once; one that fails is one without a sample, with the reason."""
        import aiohttp

        from interlock.skills.infrastructure.cluster.connections import Connector

        timeout = aiohttp.ClientTimeout(total=self._timeout_s)
        async with aiohttp.ClientSession(connector=Connector(), timeout=timeout, headers=self._headers) as session:
            return [await self._answer(session, blueprint, query) for query in queries]

    async def _answer(self, session: Any, blueprint: Blueprint, query: MetricQuery) -> Answer:
        import aiohttp

        asked = filled(query.query, blueprint)
        try:
            found = read(query.metric, await self._told(session, asked))
            if found.sample is None or not _SELECTOR.match(asked):
                return found
            # The time in an answer is that of the question; a plain selector gives values up to 5 minutes old with it.
            return dated(found, await self._told(session, f"timestamp({asked})"))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return Answer(metric=query.metric, sample=None, trouble=str(error) or type(error).__name__)

    async def _told(self, session: Any, query: str) -> Any:
        # POST: a query may be longer than a URL, and stays out of access logs.
        trust = True if self._trust is None else self._trust
        async with session.post(self._url, data={"query": query}, ssl=trust) as answer:
            body = bytearray()
            async for part in answer.content.iter_any():
                body += part
                if len(body) > _MOST_BYTES:
                    raise ValueError(f"the answer is over {_MOST_BYTES} bytes")
            return json.loads(body)


def filled(query: str, blueprint: Blueprint) -> str:
    """The query with `$namespace`, `$name` and `$container` of the blueprint's target, as PromQL strings can hold them."""
    target = blueprint.target
    values = {"$namespace": target.namespace, "$name": target.name, "$container": target.container}
    # Longest first, so that `$name` does not eat the head of `$namespace`.
    for placeholder in sorted(values, key=len, reverse=True):
        query = query.replace(placeholder, quoted(values[placeholder]))
    return query


def quoted(value: str) -> str:
    """A value inside the quotes of a PromQL string: nothing in it ends the string (Prometheus: "String literals")."""
    return "".join(letter if letter.isprintable() and letter not in _ENDING else _escaped(letter) for letter in value)


def _escaped(letter: str) -> str:
    # By number: which quotes a string may escape by name depends on the quotes around it.
    code = ord(letter)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def read(metric: MetricName, told: Any) -> Answer:
    """The sample of an answer: one number, with the time of the question. Two series are an error, not a sum. Pure."""
    try:
        value, at_s = _value(told)
    except NotOne as error:
        return Answer(metric=metric, sample=None, trouble=str(error))
    # NaN is what 0 / 0 requests give: nothing was measured.
    scaled = value * _FACTORS[metric]
    if not math.isfinite(scaled) or scaled < 0 or scaled > _LARGEST:
        return Answer(metric=metric, sample=None, trouble=f"the value is {value}")
    return Answer(metric=metric, sample=Sample(name=metric, value=round(scaled), at_ms=round(at_s * 1000)))


def dated(answer: Answer, told: Any) -> Answer:
    """The answer with the time its value was taken at, as `timestamp()` told it; without that it counts as none."""
    try:
        value, _ = _value(told)
    except NotOne as error:
        return replace(answer, sample=None, trouble=f"nobody knows how old it is: {error}")
    return replace(answer, sample=answer.sample and replace(answer.sample, at_ms=round(value * 1000)))


class NotOne(ValueError):
    """An answer that is not one number. Empty: there is no value now."""


def _value(told: Any) -> tuple[float, float]:
    """The number and its time in seconds. Raises NotOne."""
    try:
        if told["status"] != "success":
            raise NotOne(str(told.get("error", "no success"))[:200])
        kind, result = told["data"]["resultType"], told["data"]["result"]
        if kind == "vector" and len(result) != 1:
            raise NotOne(f"{len(result)} series, one was expected" if result else "")
        if kind not in ("vector", "scalar"):
            raise NotOne(f"a {kind}, an instant vector was expected")
        at_s, value = result[0]["value"] if kind == "vector" else result
        return float(value), float(at_s)
    except NotOne:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise NotOne("the answer is not that of a Prometheus") from None
