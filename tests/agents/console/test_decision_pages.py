"""The pages of decisions: found in whatever log they stand, the newest, and what was done before what was held."""

from __future__ import annotations

import html
import os
import re
from pathlib import Path

import msgspec
import pytest

from interlock.agents.blueprints.decision_log import DecisionLog
from interlock.agents.blueprints.decision_places import MOST_PLACES, note_place, noted_places
from interlock.agents.console.decision_pages import MOST_RECORDS, TAIL_BYTES, read_decisions
from interlock.agents.workspace.layout import Layout
from interlock.skills.infrastructure.decision.record import encode_record
from tests.agents.console.conftest import Counter
from tests.skills.infrastructure.decision.test_record import record

pytestmark = pytest.mark.anyio


async def test_decisions_are_read_from_their_logs(quiet_counter: Counter) -> None:
    browser, root = await quiet_counter.browser(), quiet_counter.desk.session.layout.root
    assert "No decisions to do something yet" in (await browser.get("/decisions")).text
    logs = DecisionLog(root / "logs" / "agent-decisions")
    made = record()
    logs.write(made)
    page = (await browser.get("/decisions")).text
    found = re.search(r'href="(/decisions/[^"]+)"', page)
    assert found
    whole = (await browser.get(html.unescape(found[1]))).text
    assert "spec.performance.latency_p95" in whole
    assert "scale_within_limits" in whole
    assert "✓ targets met" in whole
    row = '<td>latency p95</td><td class="num nowrap" title="latency_p95_us 220000">220 ms</td><td></td>'
    assert row + '<td class="num nowrap" title="latency_p95_us 180000">180 ms</td>' in whole
    assert '<td class="num" title="weight_ppm 500000">50 %</td>' in whole
    assert "After 60 s" in whole
    assert (await browser.get("/decisions/nope")).status == 404
    file = next((root / "logs" / "agent-decisions").glob("*.jsonl"))
    with file.open("ab") as lines:
        lines.write(b"no record\n" + b"{}\n" + b"[" * 9_000 + b"\n" + b"half a li")
    page = (await browser.get("/decisions")).text
    assert "3 lines of the decision logs are no decisions" in page
    assert page.count("data-row") == 1


async def test_decisions_are_found_wherever_a_drive_or_a_watcher_wrote_them(
    quiet_counter: Counter, tmp_path: Path
) -> None:
    browser, layout = await quiet_counter.browser(), quiet_counter.desk.session.layout
    elsewhere = tmp_path / "given by -o" / "logs" / "agent-decisions"
    DecisionLog(elsewhere).write(record())
    note_place(layout, elsewhere)
    assert (await browser.get("/decisions")).text.count("data-row") == 1
    ordinary = layout.root / "logs" / "agent-decisions"
    ordinary.mkdir(parents=True)
    note_place(layout, ordinary)
    note_place(layout, ordinary)
    assert (await browser.get("/decisions")).text.count("data-row") == 1, "a place that is set and noted is read once"


def test_notes_of_places_are_bounded_and_what_is_gone_or_no_path_is_passed_over(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert noted_places(layout) == []
    places = [tmp_path / f"p{number}" for number in range(MOST_PLACES + 3)]
    for at, place in enumerate(places):
        place.mkdir()
        note_place(layout, place)
        newest = max(layout.decision_places.iterdir(), key=lambda note: note.stat().st_ctime_ns)
        os.utime(newest, ns=(at, at))
    assert noted_places(layout) == places[: -MOST_PLACES - 1 : -1]
    places[-1].rmdir()
    (layout.decision_places / "bad").write_bytes(b"\xff\x00")
    (layout.decision_places / "relative").write_text("p3")
    assert noted_places(layout) == places[-2 : -MOST_PLACES - 1 : -1]


async def test_what_was_done_is_not_buried_under_what_was_held(quiet_counter: Counter) -> None:
    browser, root = await quiet_counter.browser(), quiet_counter.desk.session.layout.root
    logs = DecisionLog(root / "logs" / "agent-decisions")
    done = record()
    # What its text says of itself does not hide it.
    told = msgspec.structs.replace(done.decision, rationale='"outcome":"held"')
    logs.write(msgspec.structs.replace(done, decision=told))
    for number in range(MOST_RECORDS + 5):
        other = msgspec.structs.replace(done.decision, id=f"decision-{number}")
        logs.write(msgspec.structs.replace(done, outcome="held", decision=other))
    page = (await browser.get("/decisions")).text
    assert page.count("data-row") == 1 and "Those to do nothing too" in page
    assert (await browser.get(f"/decisions/{done.decision.id}")).status == 200
    page = (await browser.get("/decisions?held=yes")).text
    assert page.count("data-row") == MOST_RECORDS and "Only what was not held" in page
    assert (await browser.get(f"/decisions/decision-{MOST_RECORDS}")).status == 200


def test_of_many_decisions_the_newest_are_read(tmp_path: Path) -> None:
    line = encode_record(record()) + b"\n"
    count = 3 * TAIL_BYTES // len(line)
    (tmp_path / "a.jsonl").write_bytes(line * count)
    found = read_decisions([tmp_path, tmp_path / "none"])
    assert (len(found.records), found.unreadable) == (MOST_RECORDS, 0)
