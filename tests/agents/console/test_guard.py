"""What the guard lets through, and what no page gives away."""

from __future__ import annotations

import re
from typing import Any

import pytest

from interlock.agents.console.guard import FORM_BYTES, is_loopback, origins_of
from interlock.agents.console.pages import HERE
from interlock.agents.console.serving import check_settings
from interlock.agents.console.settings import ConsoleSettings
from interlock.agents.errors import UserError
from tests.agents.console.conftest import ORIGIN, Browser, Counter, field

pytestmark = pytest.mark.anyio
PAGES = ("/goals", "/approvals", "/halts", "/dead", "/decisions", "/costs", "/audit")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8470", "127.0.0.1", "127.0.0.1:80", "", "127.0.0.1:8470.evil.example", "a" * 9_000],
)
async def test_a_name_that_is_not_its_own_is_refused(quiet_counter: Counter, host: str) -> None:
    """DNS rebinding: an attacker's name that leads to this machine."""
    for method in ("GET", "POST"):
        answer = await Browser(quiet_counter.app).ask(method, "/login", headers=[("host", host)])
        assert answer.status == 421
        assert host not in answer.text or not host


async def test_names_of_its_own(quiet_counter: Counter) -> None:
    for host in ("127.0.0.1:8470", "localhost:8470", "LOCALHOST:8470", "[::1]:8470"):
        assert (await Browser(quiet_counter.app).get("/login", [("host", host)])).status == 200
    assert (await Browser(quiet_counter.app).get("/login", [("host", "localhost:8470"), ("host", "x")])).status == 421


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "http://evil.example",
        "http://127.0.0.1:9999",
        "https://127.0.0.1:8470",
        "http://localhost:8470",
        "",
    ],
)
async def test_a_form_from_elsewhere_is_refused(quiet_counter: Counter, origin: Any) -> None:
    browser = await quiet_counter.browser()
    fields = {"csrf": await quiet_counter.csrf(browser), "verb": "halt", "scope": "workspace", "why": "x"}
    assert (await browser.post("/halts", fields, [("origin", origin)])).status == 403
    assert "Nothing is halted" in (await browser.get("/halts")).text


async def test_a_form_without_its_token_is_refused(quiet_counter: Counter) -> None:
    browser, other = await quiet_counter.browser(), await quiet_counter.browser("human.bob")
    foreign = await quiet_counter.csrf(other)
    for csrf in ("", "x", foreign):
        fields = {"csrf": csrf, "verb": "halt", "scope": "workspace", "why": "x"}
        for path in ("/halts", "/goals", "/dead/1", "/deviations/d-1", "/logout", "/approvals/x", "/audit"):
            answer = await browser.post(path, fields)
            assert answer.status == 403, path
            assert "bad_form" in answer.text
    assert "Nothing is halted" in (await browser.get("/halts")).text


async def test_nobody_sees_or_does_anything_before_the_login(quiet_counter: Counter) -> None:
    browser = Browser(quiet_counter.app)
    for path in (*PAGES, "/", "/nav", "/goals/x", "/dead/1", "/halts/confirm?kind=workspace"):
        answer = await browser.get(path)
        assert (answer.status, answer.body) == (303, b""), path
    for path in ("/goals", "/halts", "/dead/1", "/approvals/x", "/deviations/x", "/audit", "/logout"):
        assert (await browser.post(path, {"csrf": ""})).status == 303, path
    part = await browser.get("/goals?part=live", [("hx-request", "true")])
    assert (part.status, part.header("hx-redirect"), part.body) == (401, "/login", b"")
    assert (await browser.get("/events?topics=goals")).status == 401


async def test_every_answer_carries_the_headers(quiet_counter: Counter) -> None:
    browser = await quiet_counter.browser()
    for path in (*PAGES, "/login", "/nope", "/static/console.css", "/static/nope", "/nav", "/dead/99"):
        answer = await browser.get(path)
        policy = answer.header("content-security-policy")
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.header("x-content-type-options") == "nosniff"
        assert answer.header("x-frame-options") == "DENY"
        assert answer.header("referrer-policy") == "same-origin"
        kept = answer.header("cache-control")
        assert kept == "no-store" or (path.startswith("/static/console") and kept.startswith("private"))


def test_no_page_needs_more_than_the_policy_allows() -> None:
    """No script or style stands in a page, nothing is fetched from elsewhere, and nothing escapes being escaped."""
    pages = {path.name: path.read_text() for path in (HERE / "templates").iterdir()}
    assert len(pages) > 15
    for name, text in pages.items():
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|hx-on|hx-vals|\|\s*safe|autoescape", text), name
        assert not re.search(r"<script(?! src=\"/static/)", text), name
        assert not re.search(r"(src|href|action)=\"(https?:)?//", text), name
    script = (HERE / "static" / "console.js").read_text()
    assert not re.search(r"innerHTML|eval\(|Function\(|https?://", script)
    assert "url(" not in (HERE / "static" / "console.css").read_text()


@pytest.mark.parametrize(
    "path",
    [
        "/static/../pages.py",
        "/static/%2e%2e/pages.py",
        "/static/..%2fpages.py",
        "/static//etc/passwd",
        "/static/%00",
        "/static/console.css/../../app.py",
        "/goals/../../../etc/passwd",
        "/goals/%2e%2e%2f%2e%2e/artefacts/x",
        "//evil.example/goals",
    ],
)
async def test_paths_lead_nowhere_else(quiet_counter: Counter, path: str) -> None:
    from urllib.parse import unquote

    browser = await quiet_counter.browser()
    for form in (path, unquote(path)):
        answer = await browser.get(form)
        assert answer.status in (404, 303), form
        assert b"import" not in answer.body
        assert b"root:" not in answer.body
        assert "evil" not in answer.header("location")


async def test_headers_cannot_be_planted(quiet_counter: Counter) -> None:
    browser = await quiet_counter.browser()
    planted = "x\r\nSet-Cookie: planted=1"
    for path in (
        f"/goals/{planted}",
        f"/goals?page={planted}",
        f"/halts/confirm?scope={planted}",
        f"/approvals/{planted}",
    ):
        answer = await browser.get(path)
        assert not any("\r" in value or "\n" in value or "planted=1" in value for _, value in answer.headers), path
    answer = await browser.post(
        f"/approvals/{planted}", {"csrf": await quiet_counter.csrf(browser), "decision": "approve"}
    )
    assert not any("\r" in value or "\n" in value or name == "set-cookie" for name, value in answer.headers)


@pytest.mark.parametrize("length", [None, "10", "99999999"])
async def test_too_much_is_refused_whatever_it_says_of_itself(quiet_counter: Counter, length: Any) -> None:
    browser = await quiet_counter.browser()
    kind = ("content-type", "application/x-www-form-urlencoded")
    body = b"csrf=x&goal=" + b"a" * (FORM_BYTES + 1)
    answer = await browser.ask("POST", "/goals", body, [kind, ("content-length", length)])
    assert answer.status == 413


async def test_only_get_and_post(quiet_counter: Counter) -> None:
    browser = await quiet_counter.browser()
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT"):
        assert (await browser.ask(method, "/goals")).status == 405
    assert (await browser.post("/costs", {"csrf": await quiet_counter.csrf(browser)})).status == 405


@pytest.mark.parametrize("value", ["9" * 400, "-1", "0", "x", "٣", "1e9", ""])
async def test_odd_page_numbers(quiet_counter: Counter, value: str) -> None:
    from urllib.parse import quote

    assert (await (await quiet_counter.browser()).get(f"/goals?page={quote(value)}")).status == 200


@pytest.mark.parametrize(
    "cookie", ["\x80\xff=\xfe", "=;=;;", "interlock_visit_8470=" + "a" * 10_000, "interlock_visit_8470", ""]
)
async def test_odd_cookies_are_nobody(quiet_counter: Counter, cookie: str) -> None:
    browser = Browser(quiet_counter.app)
    assert (await browser.get("/goals", [("cookie", cookie)])).status == 303
    assert (await browser.get("/login", [("cookie", cookie.replace("visit", "before"))])).status == 200
    assert (await browser.post("/login", {"token": "x", "answer": "x"}, [("cookie", cookie)])).status == 403


def test_what_is_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.org", "")))
    assert ORIGIN in origins_of("127.0.0.1", 8470, [])
    assert "http://[::1]:8470" in origins_of("::1", 8470, [])


@pytest.mark.parametrize(
    ("host", "origins", "fine"),
    [
        ("127.0.0.1", [], True),
        ("::1", [], True),
        ("0.0.0.0", [], False),
        ("0.0.0.0", ["http://console.example.org"], False),
        ("0.0.0.0", ["https://console.example.org"], True),
    ],
)
def test_only_this_machine_unless_tls_stands_before_it(host: str, origins: list[str], fine: bool) -> None:
    settings = ConsoleSettings(host=host, origins=origins)
    if fine:
        check_settings(settings)
        return
    with pytest.raises(UserError) as caught:
        check_settings(settings)
    assert caught.value.reason == "not_loopback"


@pytest.mark.parametrize("origin", ["example.org", "ftp://x", "https://x/", "https://", "https://x/path", ""])
def test_origins_that_are_none(origin: str) -> None:
    with pytest.raises(ValueError, match="no origin"):
        ConsoleSettings(origins=[origin])


async def test_a_page_that_fails_says_nothing_of_why(
    quiet_counter: Counter, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    browser = await quiet_counter.browser()

    def broken() -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(quiet_counter.desk.feed.board, "rows", broken)
    answer = await browser.get("/goals")
    assert answer.status == 500
    assert "secret" not in answer.text
    assert "a secret of the inside" in caplog.text


def test_fields_are_found() -> None:
    assert field('<input name="csrf" value="abc">', "csrf") == "abc"
