from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import SocketAttribute, SocketStream
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.skills.errors import SkillsError
from interlock.skills.infrastructure.blueprint.model import MetricQuery
from interlock.skills.infrastructure.cluster.prometheus import Prometheus, filled, quoted, read
from interlock.skills.infrastructure.observed import Sample
from tests.skills.infrastructure.cluster.services import service

pytestmark = pytest.mark.anyio

SHOP = service("shop")


def vector(*values: Any) -> Any:
    result = [{"metric": {}, "value": value} for value in values]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


@pytest.mark.parametrize(
    ("metric", "told", "value"),
    [
        ("latency_p95_us", vector([1700000000.5, "0.25"]), 250_000),
        ("throughput_mrps", vector([1700000000.5, "12.5"]), 12_500),
        ("error_rate_ppm", vector([1700000000.5, "0"]), 0),
        ("availability_ppm", vector([1700000000.5, "0.999"]), 999_000),
        ("queue_depth", vector([1700000000.5, "1e3"]), 1_000),
        ("queue_depth", {"status": "success", "data": {"resultType": "scalar", "result": [1700000000.5, "7"]}}, 7),
    ],
)
def test_answers_become_integers_with_units(metric: Any, told: Any, value: int) -> None:
    assert read(metric, told).sample == Sample(name=metric, value=value, at_ms=1_700_000_000_500)


@pytest.mark.parametrize(
    ("told", "trouble"),
    [
        (vector(), ""),
        (vector([1, "NaN"]), "nan"),
        (vector([1, "+Inf"]), "inf"),
        (vector([1, "-0.1"]), "-0.1"),
        (vector([1, "1e300"]), "1e+300"),
        (vector([1, "1"], [1, "2"]), "2 series"),
        ({"status": "success", "data": {"resultType": "matrix", "result": []}}, "a matrix"),
        ({"status": "error", "error": "bad query"}, "bad query"),
        (vector([1]), "not that of a Prometheus"),
        ({}, "not that of a Prometheus"),
        ([], "not that of a Prometheus"),
        (None, "not that of a Prometheus"),
        ({"status": "success", "data": {"resultType": "vector", "result": [{"value": "x"}]}}, "not that of"),
    ],
)
def test_what_is_no_number_is_missing_and_says_why(told: Any, trouble: str) -> None:
    answer = read("latency_p95_us", told)
    assert answer.sample is None
    assert trouble in answer.trouble
    assert bool(trouble) == bool(answer.trouble)


def test_placeholders_are_filled() -> None:
    query = 'up{namespace="$namespace",deployment="$name",container="$container"}'
    assert filled(query, SHOP) == 'up{namespace="shop",deployment="web",container="web"}'


@pytest.mark.parametrize(
    "url", ["", "prometheus:9090", "ftp://x", "http://", "http://x/?query=up", "file:///etc/passwd"]
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(SkillsError) as refused:
        Prometheus(url)
    assert refused.value.reason == "prometheus_url_wrong"


async def test_nobody_answers() -> None:
    (answer,) = await Prometheus("http://127.0.0.1:1").ask(SHOP, [MetricQuery(metric="queue_depth", query="up")])
    assert answer.sample is None
    assert answer.trouble


WHOLE = b'{"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "7"]}]}}'


@pytest.mark.parametrize(
    ("parts", "value", "trouble"),
    [
        ([WHOLE[:20], WHOLE[20:60], WHOLE[60:]], 7, ""),
        ([WHOLE, b" " * (1024 * 1024)], None, "the answer is over 1048576 bytes"),
        ([WHOLE[:20]], None, "delimiter"),
    ],
    ids=["in pieces", "too large", "cut"],
)
async def test_an_answer_comes_as_the_network_likes(parts: list[bytes], value: int | None, trouble: str) -> None:
    async def answer(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
            with suppress(anyio.BrokenResourceError):
                for part in parts:
                    await stream.send(part)
                    for _ in range(10):  # turns of the loop that the client shares: it has read the part by then
                        await anyio.lowlevel.checkpoint()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with anyio.create_task_group() as group:
        group.start_soon(listener.serve, answer)
        url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        (told,) = await Prometheus(url).ask(SHOP, [MetricQuery(metric="queue_depth", query="sum(depth)")])
        group.cancel_scope.cancel()
    await listener.aclose()
    assert (told.sample.value if told.sample else None) == value
    assert trouble in told.trouble


# From here on against the real program.
PROGRAMS = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None, reason="prometheus is not installed"
)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """URL of a server with two gauges: `fresh` (10 s old) and `old` (200 s old); and when that was, in seconds."""
    directory = tmp_path_factory.mktemp("prometheus")
    now = int(time.time())
    metrics = directory / "metrics.txt"
    metrics.write_text(
        "# TYPE fresh gauge\n"
        f'fresh{{service="web"}} 0.25 {now - 10}\n'
        f'fresh{{service="api"}} 0.5 {now - 10}\n'
        "# TYPE old gauge\n"
        f'old{{service="web"}} 0.25 {now - 200}\n# EOF\n'
    )
    make = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(metrics), str(directory / "data")]
    subprocess.run(make, check=True, capture_output=True, timeout=60)
    (directory / "prometheus.yml").write_text("scrape_configs: []\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        "prometheus",
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(f"{url}/-/ready", process, directory / "log")
        yield url, now
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-2_000:]
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(log.read_text()[-2_000:])


@PROGRAMS
@pytest.mark.process
@pytest.mark.parametrize(
    ("query", "value", "age_s"),
    [
        ('fresh{service="$name"}', 250_000, 10),
        ('old{service="$name"}', 250_000, 200),
        ('fresh{service="$name"} * 2', 500_000, None),
        ("vector(0.1)", 100_000, None),
        ("scalar(vector(0.1))", 100_000, None),
        ('fresh{service="nobody"}', None, None),
        ("fresh", None, None),
        ("fresh{", None, None),
        ("0/0", None, None),
    ],
)
async def test_a_real_prometheus(prometheus: tuple[str, int], query: str, value: int | None, age_s: int | None) -> None:
    url, now = prometheus
    (answer,) = await Prometheus(url).ask(SHOP, [MetricQuery(metric="latency_p95_us", query=query)])
    assert (answer.sample.value if answer.sample else None) == value, answer.trouble
    if answer.sample is not None and age_s is not None:
        assert answer.sample.at_ms == (now - age_s) * 1000, "how old it is, not when it was asked for"
    elif answer.sample is not None:
        assert abs(answer.sample.at_ms - now * 1000) < 60_000


NASTY = ['a"b', "a\\", "a\\\\", "a`b'c", "a\nb", '"} or up{x="', "$name", "ü", "\u2028", "\x00\x1f", "a{{b}}"]


@PROGRAMS
@pytest.mark.process
@pytest.mark.parametrize("value", NASTY, ids=ascii)
def test_no_value_leaves_its_string(prometheus: tuple[str, int], value: str) -> None:
    assert _label(prometheus[0], value) == value


@PROGRAMS
@pytest.mark.process
def test_no_text_at_all_leaves_its_string(prometheus: tuple[str, int]) -> None:
    @settings(max_examples=60)
    @given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20))
    def check(value: str) -> None:
        assert _label(prometheus[0], value) == value

    check()


def _label(url: str, value: str) -> str:
    """What Prometheus takes the value for: absent() gives the labels of its selector back."""
    import json
    from urllib.parse import urlencode

    body = urlencode({"query": f'absent(nothing{{name="{quoted(value)}"}})'}).encode()
    with urllib.request.urlopen(f"{url}/api/v1/query", data=body, timeout=5) as answer:
        (found,) = json.load(answer)["data"]["result"]
    return str(found["metric"]["name"])
