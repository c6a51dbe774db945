"""The console in a real browser, over a whole secured house of processes: what a person does, with keys alone where that counts.

Skipped where no Chromium is installed. With INTERLOCK_WRITE_DOCS=1 it also writes the screenshots of docs/console.md.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from interlock.agents.blueprints.decision_log import DecisionLog
from interlock.agents.supervision.house import AGENTS
from interlock.bus.deadletters import bury
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.transport import Message
from interlock.envelope.amounts import clock_ms
from tests.agents.console.contrast import CONTRAST
from tests.agents.console.pictures import PICTURES, WRITE, small
from tests.agents.console.stage import CHROMIUM, ROOT, Place, Tab, focused, goal_text, line, until
from tests.skills.infrastructure.decision.test_record import record

PAGES = ("/goals", "/approvals", "/halts", "/dead", "/decisions", "/costs", "/audit")
pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed: the console is not tried in a browser"),
]


def test_a_goal_is_submitted_and_watched_to_its_end(tab: Tab, place: Place) -> None:
    tab.go("/goals")
    tab.page.keyboard.press("s")
    tab.page.keyboard.press("Control+a")
    tab.page.keyboard.insert_text(
        goal_text([line(place, "first", 1_000), line(place, "second", 3_000, after=["first"])], "Watched <i>live</i>")
    )
    tab.page.keyboard.press("Tab")
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_url("**/goals/*-*")
    tab.page.evaluate("window.sameDocument = true")
    tab.page.locator("svg g.running").first.wait_for()
    tab.page.locator(".tiles .pill.released").wait_for()
    until(lambda: tab.page.locator("svg g.done").count() == 2)
    assert tab.page.evaluate("window.sameDocument") is True, "no page was loaded anew"
    assert tab.page.locator("h1").inner_text() == "Watched <i>live</i>"
    assert tab.page.locator("h1 i").count() == 0
    until(lambda: tab.page.locator(".yes", has_text="verified").count() >= 13)
    assert tab.page.locator(".no").count() == 0
    with tab.page.expect_download() as caught:
        tab.page.get_by_role("link", name="audit_report.md").click()
    downloaded = caught.value
    assert downloaded.suggested_filename == "audit_report.md"
    data = Path(downloaded.path()).read_bytes()
    assert hashlib.sha256(data).hexdigest() in downloaded.url


def test_approve_and_reject_with_keys_alone(tab: Tab, place: Place) -> None:
    for key, reason, state in (("y", "I have looked", "released"), ("n", "too bold", "blocked")):
        goal_id = place.submit([line(place, f"asked-{key}", skill="approved-line")], wait=False)
        tab.go("/goals")
        tab.page.keyboard.press("g")
        tab.page.keyboard.press("a")
        tab.page.wait_for_url("**/approvals")
        row = tab.page.locator("section", has_text="Waiting").locator("[data-row]")
        row.wait_for()
        tab.page.locator("nav .badge.warn").wait_for()
        tab.page.keyboard.press("j")
        tab.page.keyboard.press("Enter")
        tab.page.wait_for_url("**/approvals/*")
        assert f"asked-{key}" in tab.page.locator("pre").inner_text()
        tab.page.keyboard.press(key)
        focused(tab.page).type(reason)
        tab.page.keyboard.press("Enter")
        tab.page.wait_for_url("**/approvals")
        assert "by human" in tab.page.locator("#notice").inner_text()
        tab.page.locator("section", has_text="Ended").get_by_text(reason).wait_for()
        tab.go(f"/goals/{goal_id}")
        tab.page.locator(f".tiles .pill.{state}").wait_for()
    assert (place.root / "lines" / "lines.txt").read_text().splitlines().count("asked-y") == 1
    assert "asked-n" not in (place.root / "lines" / "lines.txt").read_text()


def test_halt_and_resume_with_keys_alone(tab: Tab, place: Place) -> None:
    tab.go("/goals")
    tab.page.keyboard.press("g")
    tab.page.keyboard.press("h")
    tab.page.wait_for_url("**/halts")
    tab.page.locator("select[name=kind]").focus()
    tab.page.keyboard.type("a skill")
    tab.page.keyboard.press("Tab")
    tab.page.keyboard.type("appending-line")
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_url("**/halts/confirm*")
    focused(tab.page).type("it misbehaves")
    tab.page.keyboard.press("Enter")
    tab.page.locator("#notice", has_text="halted skill:appending-line").wait_for()
    goal_id = place.submit([line(place, "held")], wait=False)
    tab.go(f"/goals/{goal_id}")
    tab.page.locator(".notice", has_text="it misbehaves").wait_for()
    tab.page.locator("svg g.running, svg g.waiting").first.wait_for()
    assert tab.page.locator(".tiles .pill.released").count() == 0
    resumer = tab.page.context.new_page()
    resumer.goto(place.url + "/halts")
    resumer.keyboard.press("j")
    resumer.keyboard.press("Enter")
    resumer.wait_for_url("**/halts/confirm*")
    focused(resumer).type("mended")
    resumer.keyboard.press("Enter")
    resumer.locator("#notice", has_text="resumed skill:appending-line").wait_for()
    resumer.close()
    tab.page.locator(".tiles .pill.released").wait_for()
    assert tab.page.locator(".live .notice").count() == 0


def test_a_bundle_is_verified_and_a_tampered_one_refused(tab: Tab, place: Place) -> None:
    goal_id = place.submit([line(place, "bundled")])
    bundle = place.root / "bundle.json.gz"
    place.cli("audit", "bundle", goal_id, "-o", str(bundle))
    tab.go("/audit")
    tab.page.set_input_files("input[type=file]", str(bundle))
    tab.page.get_by_role("button", name="Verify").click()
    tab.page.locator("#verdict .pill.valid").wait_for()
    changed = bytearray(bundle.read_bytes())
    changed[len(changed) // 2] ^= 1
    drop(tab, "tampered.json.gz", bytes(changed))
    tab.page.locator("#verdict .pill.invalid").wait_for()
    assert "changed or cut" in tab.page.locator("#verdict").inner_text()
    drop(tab, "bundle.json.gz", bundle.read_bytes())
    tab.page.locator("#verdict .pill.valid").wait_for()


def drop(tab: Tab, name: str, data: bytes) -> None:
    """As a file that is dropped from the desktop."""
    given = tab.page.evaluate_handle(
        """([name, bytes]) => {
            const given = new DataTransfer();
            given.items.add(new File([new Uint8Array(bytes)], name));
            return given;
        }""",
        [name, list(data)],
    )
    tab.page.dispatch_event("[data-drop]", "drop", {"dataTransfer": given})
    tab.page.locator("#verdict h2", has_text=name).wait_for()


def test_a_dead_letter_is_put_back(tab: Tab, place: Place) -> None:
    """A goal that its gateway gave up, as if it had died of it: handed in again, it runs."""

    async def give_up(transport: JetStreamTransport) -> None:
        goal = goal_text([line(place, "redriven")], "Given up once")
        message = Message("interlock.default.goal.submit", goal.encode(), {}, 900_001, clock_ms(), delivered=9)
        told: dict[str, Any] = {
            "reason": "max_deliveries",
            "detail": "nobody answered nine deliveries",
            "now_ms": clock_ms(),
        }
        await bury(transport, "default", "gateway", "GOALS", message, **told)

    tab.go("/dead")
    place.call("gateway", give_up)
    tab.page.locator("[data-row]").first.wait_for()
    tab.page.keyboard.press("j")
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_url("**/dead/*")
    tab.page.get_by_label("What was mended").fill("the gateway was given more memory")
    tab.page.keyboard.press("Enter")
    tab.page.locator("#notice", has_text="put back").wait_for()
    goal_id = tab.page.locator("#notice").inner_text().split(" as ")[1].split(",")[0]
    tab.go(f"/goals/{goal_id}")
    tab.page.locator(".tiles .pill.released").wait_for()
    assert tab.page.locator("h1").inner_text() == "Given up once"


def test_a_silent_broker_is_told_and_its_return_too(tab: Tab, place: Place) -> None:
    tab.go("/goals")
    tab.page.locator(".state", has_text="broker answers").wait_for()
    running = place.layout.running()
    assert running is not None
    os.kill(running.server_pid, signal.SIGSTOP)
    try:
        tab.page.locator(".state.away").wait_for()
        assert tab.page.locator("tbody tr").count() > 0, "what was shown stays"
    finally:
        os.kill(running.server_pid, signal.SIGCONT)
    tab.page.locator(".state", has_text="broker answers").wait_for()
    place.submit([line(place, "after")], "After the silence")
    tab.page.get_by_text("After the silence").wait_for()


def test_pages_are_read_without_scripts(chromium: Any, seat: Any, place: Place) -> None:
    goal_id = place.submit([line(place, "read")], "Read without scripts")
    plain = chromium.new_context(java_script_enabled=False, storage_state=seat.storage_state())
    page = plain.new_page()
    for path in (*PAGES, f"/goals/{goal_id}"):
        page.goto(place.url + path)
        assert page.locator("h1").count() == 1, path
        assert page.locator("nav a[aria-current]").count() == 1, path
    assert page.locator(".yes", has_text="verified").count() >= 10
    assert page.locator("svg g.done").count() == 1
    page.goto(place.url + "/goals")
    page.get_by_role("link", name="Read without scripts").click()
    page.wait_for_url(f"**/goals/{goal_id}")
    plain.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_stands_out_from_its_ground(chromium: Any, seat: Any, place: Place, scheme: str) -> None:
    """WCAG 2.2, 1.4.3: 4.5:1 for text, computed in the page from what it really shows."""
    context = chromium.new_context(color_scheme=scheme, storage_state=seat.storage_state())
    goal_id = place.submit([line(place, f"seen-{scheme}"), {"id": "bad", "skill": "failing-always"}])
    place.cli("halt", "skill:stamping-time", "--why", "so that a halt is seen")
    page = context.new_page()
    looked_at = 0
    for path in (*PAGES, f"/goals/{goal_id}", "/halts/confirm?kind=workspace", "/goals/nope", "/login"):
        page.goto(place.url + path)
        for summary in page.locator("details > summary").all():
            summary.click()
        found = page.evaluate(CONTRAST)
        looked_at += found["seen"]
        assert found["poor"] == [], (path, found["poor"])
        unnamed = page.evaluate(
            """() => [...document.querySelectorAll("input:not([type=hidden]),textarea,select")]
                .filter(one => !one.labels.length && !one.ariaLabel).map(one => one.outerHTML)"""
        )
        assert unnamed == []
    assert looked_at > 300
    place.cli("resume", "skill:stamping-time")
    context.close()


def test_fifty_streams_at_once_and_flat_memory(seat: Any, place: Place) -> None:
    """Fifty connections listen, ten of them never read, while goals run: the process does not grow with them."""
    cookie = "; ".join(f"{one['name']}={one['value']}" for one in seat.cookies())
    host = place.url.removeprefix("http://")
    connections = [http.client.HTTPConnection(host, timeout=20) for _ in range(50)]
    answers = []
    for connection in connections:
        connection.request("GET", "/events?topics=goals,dead,broker", headers={"Cookie": cookie})
        answer = connection.getresponse()
        assert answer.status == 200
        answers.append(answer)
    assert place.process is not None
    place.submit([line(place, "warm")])
    before_kb = rss_kb(place.process.pid)
    for number in range(3):
        place.submit([line(place, f"load-{number}-{n}") for n in range(8)])
    after_kb = rss_kb(place.process.pid)
    for answer in answers[10:]:
        assert b"event: goals" in b"".join(answer.readline() for _ in range(8))
    for connection in connections:
        connection.close()
    assert after_kb - before_kb < 24_000, (before_kb, after_kb)


def rss_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def test_the_fleet_of_a_secured_broker_is_listed(place: Place) -> None:
    """Its human may ask who is there and hear the answers, and no more than that."""
    told = msgspec.json.decode(place.cli("agents", "--json"))
    assert [one["agent"] for one in told] == sorted(AGENTS)
    assert all(one["metrics"].startswith("http://127.0.0.1:") and one["pid"] for one in told)


def test_logging_out_ends_the_session(chromium: Any, place: Place) -> None:
    context = chromium.new_context()
    tab = Tab(context, place)
    tab.page.goto(place.cli("console", "login"))
    focused(tab.page).press("Enter")
    tab.page.wait_for_url("**/goals")
    tab.page.get_by_role("button", name="Log out").click()
    tab.page.wait_for_url("**/login")
    challenge = tab.page.locator("pre").nth(1).inner_text().split()[3]
    answer = place.cli("console", "login", challenge, "--url", place.url)
    tab.page.get_by_label("Its answer").fill(answer)
    tab.page.get_by_role("button", name="Log in").click()
    tab.page.wait_for_url("**/goals")
    tab.check()
    context.close()


@pytest.mark.skipif(not WRITE, reason="screenshots are made with INTERLOCK_WRITE_DOCS=1")
def test_pictures(chromium: Any, seat: Any, place: Place) -> None:
    """A release is judged, a plan waits for a human, something is halted, something died: each page shows what it is for."""
    example = ROOT / "examples" / "01-release-readiness" / "goal.yaml"
    done = subprocess.run(
        [sys.executable, "-m", "interlock.agents", "submit", str(example), "--wait", "--json"],
        cwd=place.root,
        capture_output=True,
        timeout=180,
    )
    released = msgspec.json.decode(done.stdout)["status"]["goalId"]
    running = place.submit(
        [line(place, f"t{n}", 30_000 * (n > 1), after=["t0"] * (n > 0)) for n in range(4)], wait=False
    )
    asked = place.submit([line(place, "send", skill="approved-line")], "Send the notice to all customers", wait=False)
    approval = until(lambda: msgspec.json.decode(place.cli("approvals", "--json")))[0]["approvalId"]
    assert asked
    place.cli("halt", "target:/srv/billing", "--why", "the nightly close runs until six")
    logged_decisions(place)
    bundle = place.root / "picture.json.gz"
    place.cli("audit", "bundle", released, "-o", str(bundle))
    shots = {
        "goal-running": f"/goals/{running}",
        "goals": "/goals",
        "goal": f"/goals/{released}",
        "approval": f"/approvals/{approval}",
        "approvals": "/approvals",
        "decisions": "/decisions",
        "decision": f"/decisions/{record().decision.id}",
        "halts": "/halts",
        "dead-letters": "/dead",
        "costs": "/costs",
        "audit": "/audit",
        "login": "/login",
    }
    PICTURES.mkdir(exist_ok=True)
    for name, path in shots.items():
        for scheme in ("light", "dark"):
            context = chromium.new_context(
                color_scheme=scheme,
                storage_state=None if name == "login" else seat.storage_state(),
                viewport={"width": 1280, "height": 800},
            )
            page = context.new_page()
            page.goto(place.url + path)
            if name == "audit":
                page.set_input_files("input[type=file]", str(bundle))
                page.get_by_role("button", name="Verify").click()
                page.locator("#verdict").wait_for()
            page.wait_for_timeout(900)
            small(page.screenshot(), PICTURES / f"{name}-{scheme}.png")
            context.close()
    place.cli("resume", "target:/srv/billing")


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
def test_no_page_is_wider_than_its_window(chromium: Any, seat: Any, place: Place, width: int) -> None:
    """WCAG 2.2, 1.4.10: what is wider scrolls in a region of its own; words are not cut into columns of letters."""
    context = chromium.new_context(storage_state=seat.storage_state(), viewport={"width": width, "height": 800})
    goal_id = place.submit(
        [line(place, f"wide-{width}")], "A goal with_a_name_that_nobody_can_break" + "_anywhere" * 30
    )
    logged_decisions(place)
    decision = f"/decisions/{record().decision.id}"
    page = context.new_page()
    for path in (*PAGES, f"/goals/{goal_id}", decision, "/halts/confirm?kind=workspace", "/goals/nope", "/login"):
        page.goto(place.url + path)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path
        narrow = page.evaluate(
            """() => [...document.querySelectorAll("td a")].filter(one => one.innerText.length > 20)
                .map(one => one.getBoundingClientRect().width).filter(wide => wide < 100)"""
        )
        assert narrow == [], path
    context.close()


def logged_decisions(place: Place) -> None:
    """What a watcher leaves: an hour of decisions, each as `decide` makes them."""
    log = DecisionLog(place.root / "logs" / "agent-decisions")
    for at, outcome in enumerate(("success", "success", "rolled_back", "success", "blocked", "success")):
        made = record()
        log.write(
            msgspec.structs.replace(
                made,
                timestamp=f"2026-11-21T09:{10 + 7 * at}:00.000Z",
                outcome=outcome,
                decision=msgspec.structs.replace(made.decision, id=made.decision.id if at == 5 else f"decision-{at}"),
            )
        )
