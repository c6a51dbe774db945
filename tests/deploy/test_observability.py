"""deploy/observability: rules that promtool takes and that speak when they should, dashboards as their code says, a runbook
for every alert, and no name of a metric that the code does not have.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from interlock.agents.cli.app import app
from interlock.bus.yaml12 import load_yaml
from tests.agents.telemetry.test_metrics import everything

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "deploy" / "observability"
RULES = PLACE / "prometheus" / "rules.yaml"
RUNBOOKS = ROOT / "docs" / "runbooks"
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)"
)
# Of Prometheus itself.
THEIRS = {"up"}
_NAME = re.compile(r"\b(?:interlock|skill|process)_[a-z_]+\b|\bup\b")


def read(path: Path) -> Any:
    return load_yaml(path.read_bytes(), source=str(path)).value


def rules() -> list[dict[str, Any]]:
    return [rule for group in read(RULES)["groups"] for rule in group["rules"]]


def dashboards() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dashboards", ROOT / "scripts" / "dashboards.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def queries() -> Iterator[tuple[str, str]]:
    """(where, PromQL) of all panels."""
    for path in sorted((PLACE / "grafana").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.name}: {panel['title']}", target["expr"]


def known() -> set[str]:
    """The names of all series that any process serves, counters and histograms with what they end in."""
    found = set(THEIRS)
    for family in everything().registry.collect():
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        found |= {family.name + ending for ending in endings}
    return found


def promtool(*arguments: str, place: Path) -> str:
    told = subprocess.run(["promtool", *arguments], cwd=place, capture_output=True, text=True, timeout=120)
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


@needs_promtool
def test_promtool_takes_the_rules_and_they_speak_when_they_should() -> None:
    place = PLACE / "prometheus"
    assert "SUCCESS" in promtool("check", "rules", "rules.yaml", place=place)
    promtool("test", "rules", "rules_test.yaml", "rules_weeks_test.yaml", place=place)
    promtool("check", "config", "--syntax-only", "prometheus.yaml", place=place)


@needs_promtool
def test_promtool_takes_every_query_of_the_dashboards(tmp_path: Path) -> None:
    recorded = [{"record": f"query:{at}", "expr": expr} for at, (_, expr) in enumerate(queries())]
    (tmp_path / "queries.yaml").write_text(json.dumps({"groups": [{"name": "queries", "rules": recorded}]}))
    assert f"{len(recorded)} rules found" in promtool("check", "rules", "queries.yaml", place=tmp_path)


def test_every_alert_has_its_test() -> None:
    tested = "".join(path.read_text() for path in (PLACE / "prometheus").glob("*_test.yaml"))
    assert [rule["alert"] for rule in rules() if rule["alert"] not in tested] == []


def test_every_metric_that_is_named_is_one_that_the_code_has() -> None:
    names = known()
    named = [(rule["alert"], rule["expr"]) for rule in rules()] + list(queries())
    assert len(named) > 40
    unknown = [(where, name) for where, expr in named for name in _NAME.findall(expr) if name not in names]
    assert unknown == []


def test_every_alert_has_a_runbook_that_says_when_it_speaks_and_no_runbook_is_left_over() -> None:
    pages = set()
    for rule in rules():
        page = ROOT / rule["annotations"]["runbook_url"]
        pages.add(page)
        text = page.read_text()
        assert text.startswith(f"# {rule['alert']}\n") and "\n## Look\n" in text and "\n## Do\n" in text
        for line in rule["expr"].strip().splitlines():
            assert line in text, f"{page.name} does not say when {rule['alert']} speaks"
        assert f"Severity: {rule['labels']['severity']}." in text
        assert f"]({page.name})" in (RUNBOOKS / "README.md").read_text()
    assert {path for path in RUNBOOKS.glob("*.md") if path.name != "README.md"} == pages


def test_what_the_runbooks_tell_to_type_exists() -> None:
    verbs = {name for name in app if not name.startswith("-")}
    typed = [
        (page.name, verb)
        for page in RUNBOOKS.glob("*.md")
        for verb in re.findall(r"`interlock ([a-z-]+)", page.read_text())
    ]
    assert len(typed) > 20
    assert [(page, verb) for page, verb in typed if verb not in verbs] == []


def test_links_of_the_runbooks_lead_somewhere() -> None:
    for page in RUNBOOKS.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            assert (page.parent / target).is_file(), f"{page.name} → {target}"


def test_the_dashboards_are_what_their_code_says() -> None:
    code = dashboards()
    written = {path.stem: path.read_text() for path in (PLACE / "grafana").glob("*.json")}
    assert set(written) == set(code.DASHBOARDS)
    for name, text in written.items():
        assert text == code.text_of(name), "run `python scripts/dashboards.py`"


# What Grafana 10's schema of dashboards (v39) calls these objects' members, of which a panel or a query may have others by its kind.
MEMBERS = {
    "panel": {"id", "title", "description", "type", "datasource", "fieldConfig", "gridPos", "targets"},
    "field": {"unit", "custom", "decimals", "min", "max", "thresholds", "noValue"},
    "timeseries": {"fillOpacity", "lineWidth", "showPoints"},
    "query": {"refId", "datasource", "expr", "legendFormat", "instant", "format"},
}
KINDS = {"timeseries", "stat", "table", "bargauge"}
UNITS = {"short", "s", "bytes", "ops", "percentunit", "currencyUSD"}


def test_the_dashboards_say_only_what_grafana_knows() -> None:
    for path in (PLACE / "grafana").glob("*.json"):
        board = json.loads(path.read_text())
        variables = {one["name"] for one in board["templating"]["list"]}
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        for panel in board["panels"]:
            told = panel["fieldConfig"]["defaults"]
            assert set(panel) == MEMBERS["panel"] and panel["type"] in KINDS, panel["title"]
            assert set(told) <= MEMBERS["field"] and told["unit"] in UNITS
            assert set(told["custom"]) <= MEMBERS["timeseries"]
            assert panel["type"] == "timeseries" or not told["custom"]
            for query in panel["targets"]:
                assert set(query) == MEMBERS["query"] and query["format"] in ("time_series", "table")
                assert set(re.findall(r"\$(\w+)", query["expr"] + query["datasource"]["uid"])) <= variables | {
                    "__rate_interval"
                }
            assert len({query["refId"] for query in panel["targets"]}) == len(panel["targets"])


def test_panels_do_not_overlap_and_fit_the_width() -> None:
    for path in (PLACE / "grafana").glob("*.json"):
        taken: set[tuple[int, int]] = set()
        for panel in json.loads(path.read_text())["panels"]:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert not cells & taken and at["x"] + at["w"] <= 24, panel["title"]
            taken |= cells


def test_the_collector_uses_only_what_it_declares() -> None:
    config = read(PLACE / "otel-collector.yaml")
    for pipeline in config["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            assert set(pipeline[kind]) <= set(config[kind])
    assert set(config["service"]["extensions"]) <= set(config["extensions"])
