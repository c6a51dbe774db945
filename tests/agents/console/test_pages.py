"""What the pages show and do, over a whole house: everything by the same functions as the command line."""

from __future__ import annotations

import html
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from interlock.agents.audit.bundle import make_bundle
from interlock.agents.console.app import application
from interlock.agents.costs.attribution import DIMENSIONS
from interlock.agents.costs.charges import read_account
from interlock.agents.deviations.fold import Detection
from interlock.agents.deviations.watch import DeviationWatch
from interlock.agents.wiring import running
from interlock.bus.control.giving import halts_of
from interlock.bus.kv import kv_put
from interlock.bus.records import Seals
from interlock.envelope.amounts import clock_ms, micro_usd
from interlock.envelope.ids import new_id, sha256_hex
from tests.agents.approvals.humans import asked, told
from tests.agents.conftest import ROLES, InProcess
from tests.agents.console.conftest import Browser, Counter, desk_for, field
from tests.agents.dead.test_redrive import all_but, given_up

pytestmark = pytest.mark.anyio
NOTHING = [{"id": "a", "skill": "doing-nothing"}]
RISKY = {"risk_hints": {"employment_decisions": True, "human_oversight": True, "transparency": True}}
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&lt;b&gt;{{ 7*7 }}\u202e\x00"


async def submitted(counter: Counter, browser: Browser, **more: Any) -> str:
    goal = counter.house.goal(**({"tasks": NOTHING} | more))
    answer = await browser.post(
        "/goals", {"csrf": await counter.csrf(browser), "goal": msgspec.json.encode(goal).decode()}
    )
    assert answer.header("location").startswith("/goals/"), (await browser.follow(answer)).text
    return answer.header("location").removeprefix("/goals/")


def digests(page: str) -> list[str]:
    return re.findall(r"/artefacts/([0-9a-f]{64})", page)


async def test_a_goal_from_its_form_to_its_files(counter: Counter) -> None:
    browser = await counter.browser()
    goal_id = await submitted(counter, browser)
    assert (await counter.house.ended(goal_id)).outcome == "released"
    await counter.house.audited(goal_id)
    page = await browser.get(f"/goals/{goal_id}")
    assert page.status == 200
    assert page.text.count("✓ verified") == 11
    assert "G8" in page.text
    assert '<g class="done"' in page.text
    hops = await counter.house.messages("HOPS", "role", "orchestrator", goal_id, "plan")
    assert msgspec.json.decode(hops[0].data)["payload"]["submitted_by"] == "human.ada"
    found = digests(page.text)
    assert len(found) >= 3
    for digest in found:
        file = await browser.get(f"/goals/{goal_id}/artefacts/{digest}")
        assert (file.status, sha256_hex(file.body)) == (200, digest)
        assert file.header("content-type") == "application/octet-stream"
        assert file.header("content-disposition").startswith("attachment;")
    assert goal_id in (await browser.get("/goals")).text


async def test_a_goal_accepted_and_not_taken_up_yet_says_so_and_goes_on_by_itself(quiet_counter: Counter) -> None:
    house, feed = quiet_counter.house, quiet_counter.desk.feed
    browser = await quiet_counter.browser()
    async with running("gateway", house.parts("gateway")):
        goal_id = (await house.submit(house.goal(NOTHING, goal="A & B")))["goalId"]
    page = await browser.get(f"/goals/{goal_id}")
    assert page.status == 200
    assert "A &amp; B" in page.text
    assert "Accepted, and waiting for the orchestrator" in page.text
    assert "✓ verified" in page.text
    assert f'data-topics="goal.{goal_id}' in page.text
    with feed.listening(frozenset({f"goal.{goal_id}"})) as browser_listens, anyio.fail_after(20):
        await browser_listens.wait(0)  # what every listener is told at first
        async with running("orchestrator", house.parts("orchestrator")):
            while "Accepted" in (live := await browser.get(f"/goals/{goal_id}?part=live")).text:
                assert await browser_listens.wait(20), "nobody told the page that something has changed"
    assert 'class="pill planning"' in live.text or 'class="pill review"' in live.text


async def test_what_strangers_say_was_accepted_is_no_goal(quiet_counter: Counter) -> None:
    house, goal_id = quiet_counter.house, new_id(clock_ms())
    browser = await quiet_counter.browser()
    await house.transport.publish(f"interlock.{house.workspace}.role.orchestrator.{goal_id}.plan", b"{}")
    for unknown in (goal_id, new_id(clock_ms())):
        page = await browser.get(f"/goals/{unknown}")
        assert (page.status, "unknown_goal" in page.text) == (404, True)


async def test_an_artefact_is_had_only_by_a_goal_that_made_it(counter: Counter) -> None:
    browser = await counter.browser()
    first, second = await submitted(counter, browser), await submitted(counter, browser, goal="another goal")
    for goal_id in (first, second):
        await counter.house.ended(goal_id)
    mine = set(digests((await browser.get(f"/goals/{first}")).text))
    theirs = set(digests((await browser.get(f"/goals/{second}")).text))
    foreign = (theirs - mine).pop()
    await counter.house.transport.put_object("artifacts", "0" * 64, b"nobody's")
    for digest in (foreign, "0" * 64, "../x", "", f"{foreign}%2f.."):
        assert (await browser.get(f"/goals/{first}/artefacts/{digest}")).status == 404
    assert (await browser.get(f"/goals/{new_id(clock_ms())}/artefacts/{foreign}")).status == 404


GOALS_THAT_ARE_NONE = {
    "": "bad_goal",
    "[1]": "bad_goal",
    "a: [": "bad_yaml",
    "a: 1\na: 2": "bad_yaml",
    "goal: x": "invalid_goal",
    "goal: 1.5": "invalid_goal",
    "!!python/object:os.system x": "bad_",
    "a" * 262_145: "bad_form",
}


async def test_goals_that_are_none_are_told_in_words(counter: Counter) -> None:
    browser = await counter.browser()
    for goal, reason in GOALS_THAT_ARE_NONE.items():
        page = await counter.act(browser, "/goals", goal=goal)
        assert f"({reason}" in page.text, goal[:40]
        assert 'role="alert"' in page.text
        assert "No goals yet" in page.text


async def test_what_strangers_write_is_text_on_every_page(counter: Counter) -> None:
    """Stored HTML in a goal, its tasks, an approval, a halt, a dead letter, a status: shown, never obeyed."""
    house, browser = counter.house, await counter.browser()
    plain = EVIL.replace("\x00", "").replace("\u202e", "")  # these two end a goal at its review
    named = {"goal": plain, "stakeholders": [{"name": EVIL[:40]}], "constraints": [EVIL[:60]]}
    goal_id = await submitted(counter, browser, **named, **RISKY)
    pending = await asked(house, goal_id)
    await counter.act(browser, "/halts", verb="halt", scope="target:<b>bold</b>", why=EVIL)
    await house.transport.publish(f"interlock.{house.workspace}.dead.human.redriven", EVIL.encode())
    await house.transport.publish(f"interlock.{house.workspace}.dead.executor.malformed", EVIL.encode())
    status = {"goalId": goal_id, "workspace": house.workspace, "goal": EVIL, "phase": "running", "running": [EVIL],
              "costUSD": EVIL, "startedAt": EVIL, "grounds": [{"code": EVIL, "message": EVIL}]}  # fmt: skip
    await kv_put(house.transport, "goals", f"{house.workspace}.{goal_id}", msgspec.json.encode(status))
    with anyio.fail_after(10):
        while "onerror" not in (await browser.get("/goals")).text:
            await anyio.sleep(0.01)
    pages = ["/goals", f"/goals/{goal_id}", "/approvals", f"/approvals/{pending.approval_id}", "/halts", "/dead", "/costs",
             "/audit", "/halts/confirm?verb=resume&scope=target:%3Cb%3Ebold%3C/b%3E", "/nav?here=%22%3E%3Cscript%3E"]  # fmt: skip
    letter = re.search(r"/dead/(\d+)", (await browser.get("/dead")).text)
    assert letter
    seen = 0
    for path in (*pages, letter[0]):
        answer = await browser.get(path)
        assert answer.status == 200, path
        text = answer.text
        assert not re.search(r"<script>|<img src=x|<b>bold|\"'><", text), path
        assert "49" not in re.findall(r"&amp;lt;b&amp;gt;(\S+)", text), path
        assert "\u202e" not in text
        assert "\x00" not in text
        seen += "onerror" in html.unescape(text)
    assert seen >= 5, "what is not shown proves nothing"


async def test_approve_and_reject(counter: Counter) -> None:
    browser, house = await counter.browser(), counter.house
    for decision, outcome in (("approve", "released"), ("reject", "blocked")):
        goal_id = await submitted(counter, browser, **RISKY)
        pending = await asked(house, goal_id)
        with anyio.fail_after(10):
            while pending.approval_id not in (await browser.get("/approvals")).text:
                await anyio.sleep(0.01)
        page = (await browser.get(f"/approvals/{pending.approval_id}")).text
        assert pending.action_digest in page
        assert "What if" in page
        assert "doing-nothing" in page
        path = f"/approvals/{pending.approval_id}"
        wrong = await counter.act(browser, path, decision=decision, reason="so", digest="0" * 64)
        assert "approval_mismatch" in wrong.text
        if decision == "reject":
            assert (
                "bad_usage" in (await counter.act(browser, path, decision=decision, digest=pending.action_digest)).text
            )
        assert "bad_form" in (await counter.act(browser, path, decision="maybe", digest=pending.action_digest)).text
        done = await counter.act(browser, path, decision=decision, reason="so it is", digest=field(page, "digest"))
        assert "by human.ada" in done.text
        status = await house.ended(goal_id)
        assert status.outcome == outcome
        ended = await told(house, pending, "approved" if decision == "approve" else "rejected")
        assert [(one.by, one.reason) for one in ended.decisions] == [("human.ada", "so it is")]
        late = await counter.act(browser, path, decision="approve", reason="x", digest=pending.action_digest)
        assert "already_decided" in late.text
        await house.audited(goal_id)
        hops = await house.messages("HOPS", "role", "orchestrator", goal_id, "observe")
        assert "human.ada" in {msgspec.json.decode(hop.data)["from"] for hop in hops}


async def test_halt_and_resume(counter: Counter) -> None:
    browser, house = await counter.browser(), counter.house
    page = await browser.get("/halts/confirm?kind=skill&name=doing-nothing")
    assert "Halt skill:doing-nothing?" in page.text
    for bad in ("kind=skill&name=", "kind=nonsense", "scope=goal:x", "kind=skill&name=A%20b"):
        answer = await browser.get(f"/halts/confirm?{bad}")
        assert (answer.status, "bad_scope" in answer.text) == (403, True), bad
    assert "bad_usage" in (await counter.act(browser, "/halts", verb="halt", scope="workspace", why=" ")).text
    assert "bad_form" in (await counter.act(browser, "/halts", verb="stop", scope="workspace", why="x")).text
    assert "not_halted" in (await counter.act(browser, "/halts", verb="resume", scope="workspace", why="x")).text
    done = await counter.act(browser, "/halts", verb="halt", scope="skill:doing-nothing", why="it misbehaves")
    assert "halted skill:doing-nothing, signed by human.ada" in done.text
    [order] = (await halts_of(house.transport, house.workspace, house.keys.trust)).in_force
    assert (order.by, order.scope, order.why) == ("human.ada", "skill:doing-nothing", "it misbehaves")
    assert "it misbehaves" in (await browser.get("/halts")).text
    done = await counter.act(browser, "/halts", verb="resume", scope="skill:doing-nothing", why="mended")
    assert "resumed skill:doing-nothing" in done.text
    assert (await halts_of(house.transport, house.workspace, house.keys.trust)).in_force == []


async def test_a_deviation_is_shown_with_its_clock_and_resolved(quiet_counter: Counter) -> None:
    house, browser = quiet_counter.house, await quiet_counter.browser()
    watch = DeviationWatch(house.transport, house.workspace, Seals(house.identity("auditor"), house.keys))
    detection = Detection(
        kind="determinism",
        about="workspace",
        halts="",
        evidence="HOPS:1",
        detail="<b>900</b> of 1000",
        seen_ms=clock_ms(),
    )
    async with watch.running():
        await watch.detect(detection)
        with anyio.fail_after(10):
            while not (found := re.search(r"/deviations/(d-[0-9a-f]+)", (await browser.get("/halts")).text)):
                await anyio.sleep(0.02)
        page = await browser.get(found[0])
        assert "&lt;b&gt;900" in page.text
        assert "bad_usage" in (await quiet_counter.act(browser, found[0], why=" ")).text
        done = await quiet_counter.act(browser, found[0], why="a skill read the clock")
        assert f"resolved {found[1]}" in done.text
        assert "resolved by human.ada: a skill read the clock" in (await browser.get("/halts")).text
        assert (await browser.get("/deviations/d-none")).status == 404


async def test_a_dead_letter_is_put_back_and_its_goal_goes_on(quiet_house: InProcess, tmp_path: Path) -> None:
    house = quiet_house
    desk = desk_for(house, tmp_path)
    counter = Counter(desk, application(desk), house)
    async with desk.feed.running(), all_but(house, "executor"):
        browser = await counter.browser()
        goal_id = (await house.submit(house.goal(NOTHING)))["goalId"]
        await given_up(house, "executor", "act")
        with anyio.fail_after(10):
            while not (found := re.search(r"/dead/(\d+)", (await browser.get("/dead")).text)):
                await anyio.sleep(0.01)
        page = await browser.get(found[0])
        assert "poison" in page.text
        assert '"skill":"doing-nothing"' in html.unescape(page.text).replace("\n", "")
        async with running("executor", house.parts("executor")):
            done = await counter.act(browser, found[0], why="the skill is mended")
            assert f"put back {found[1]}" in done.text
            assert (await house.ended(goal_id)).outcome == "released"
            again = await counter.act(browser, found[0], why="once more")
            assert "already_redriven" in again.text
    assert (await browser.get("/dead/999999999")).status == 404


async def test_every_table_of_costs_adds_up_to_what_the_ledger_used(counter: Counter) -> None:
    browser, house = await counter.browser(), counter.house
    skills = ["echoing-input", "doing-nothing"]
    tasks: list[dict[str, Any]] = [{"id": f"t{n}", "skill": skills[n % 2], "input": {}} for n in range(7)]
    tasks.append({"id": "bad", "skill": "failing-always"})
    ids = [await submitted(counter, browser, tasks=[dict(task) for task in tasks]) for _ in range(2)]
    ids.append(await submitted(counter, browser))
    used = 0
    for goal_id in ids:
        await house.ended(goal_id)
        await house.audited(goal_id)
        seals = Seals(house.identity("gateway"), house.keys)
        account = await read_account(house.transport, house.workspace, goal_id, seals)
        assert account is not None
        assert sum(charge.amount.usd_micro for charge in account.charges) == account.used.usd_micro
        used += account.used.usd_micro
    assert used > 0
    with anyio.fail_after(10):
        while f'id="total-micro">{used}<' not in (page := (await browser.get("/costs")).text):
            await anyio.sleep(0.05)
    tables = page.split("data-table=")[1:]
    assert [table[1 : table.index('"', 1)] for table in tables] == list(DIMENSIONS)
    for table in tables:
        assert sum(map(int, re.findall(r'data-micro="(\d+)"', table))) == used
    assert all(name in page for name in ("doing-nothing", "echoing-input", "executor", "no model", "general"))
    told_cost = micro_usd((await house.ended(ids[2])).cost_usd)
    assert f'data-micro="{told_cost}"' in tables[-1]


async def test_a_bundle_is_verified_by_its_file_and_a_tampered_one_refused(counter: Counter, tmp_path: Path) -> None:
    house, browser = counter.house, await counter.browser()
    goal_id = await submitted(counter, browser)
    await house.ended(goal_id)
    await house.audited(goal_id)
    seed = tmp_path / "auditor.nk"
    seed.write_text(house.keys.agents["auditor"].seed_text())
    path = await make_bundle(
        house.transport, house.workspace, goal_id, trust=house.keys.signed, roots=[house.keys.root.key_id],
        contract=[version.data for version in house.keys.chain.versions], key_uri=f"file:{seed}", out=tmp_path / "b.gz",
    )  # fmt: skip
    data = path.read_bytes()
    fields = {"csrf": await counter.csrf(browser)}
    good = await browser.upload("/audit", fields, "bundle", data, file="b<i>.gz")
    assert (good.status, 'class="pill valid"' in good.text) == (200, True)
    assert sha256_hex(data) in good.text
    assert "b<i>" not in good.text
    assert "pinned by this workspace" in good.text
    changed = bytearray(data)
    changed[len(data) // 2] ^= 1
    for bad in (bytes(changed), data[:-1], data + b"x", b"", b"\x1f\x8b" + b"0" * 100):
        refused = await browser.upload("/audit", fields, "bundle", bad)
        assert (refused.status, 'class="pill invalid"' in refused.text) == (422, True)
        assert "✕" in refused.text
    assert (await browser.post("/audit", fields)).status == 403
    assert (await browser.upload("/audit", {"csrf": "x"}, "bundle", data)).status == 403


async def test_a_bundle_larger_than_its_bound_is_refused(quiet_house: InProcess, tmp_path: Path) -> None:
    desk = desk_for(quiet_house, tmp_path, bundle_bytes=100_000)
    counter = Counter(desk, application(desk), quiet_house)
    async with desk.feed.running():
        browser = await counter.browser()
        fields = {"csrf": await counter.csrf(browser)}
        assert (await browser.upload("/audit", fields, "bundle", b"x" * 200_000)).status == 413
        assert "too_large" in (await browser.upload("/audit", fields, "bundle", b"x" * 100_001)).text


async def test_the_menu_counts_what_waits(counter: Counter) -> None:
    browser = await counter.browser()
    assert "badge" not in (await browser.get("/nav?here=goals")).text
    goal_id = await submitted(counter, browser, **RISKY)
    await asked(counter.house, goal_id)
    await counter.act(browser, "/halts", verb="halt", scope="skill:doing-nothing", why="x")
    with anyio.fail_after(10):
        while (await browser.get("/nav?here=goals")).text.count("badge") != 2:
            await anyio.sleep(0.02)
    await counter.act(browser, "/halts", verb="resume", scope="skill:doing-nothing", why="x")


async def test_a_broker_that_is_away_is_told_and_what_was_shown_stays(counter: Counter, monkeypatch: Any) -> None:
    browser, desk = await counter.browser(), counter.desk
    goal_id = await submitted(counter, browser)
    await counter.house.ended(goal_id)
    desk.feed.broker_ok = False
    assert "broker does not answer" in (await browser.get("/nav?here=goals")).text
    assert goal_id in (await browser.get("/goals")).text


async def test_two_consoles_need_no_more_than_one(house: InProcess, tmp_path: Path) -> None:
    """Consoles hold nothing that another would miss: what one signs the other shows."""
    async with AsyncExitStack() as stack:
        counters = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            desk = desk_for(house, tmp_path / name)
            await stack.enter_async_context(desk.feed.running())
            counters.append(Counter(desk, application(desk), house))
        first, second = [await counter.browser() for counter in counters]
        await counters[0].act(first, "/halts", verb="halt", scope="workspace", why="both see it")
        with anyio.fail_after(10):
            while "both see it" not in (await second.get("/halts")).text:
                await anyio.sleep(0.02)
        await counters[1].act(second, "/halts", verb="resume", scope="workspace", why="x")
    assert len(ROLES) == 6
