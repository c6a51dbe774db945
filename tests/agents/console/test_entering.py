"""Who gets in, how, and for how long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from interlock.agents.console.app import application
from interlock.agents.console.challenge import GOOD_MS, Challenges, check_answer, sign_answer
from interlock.agents.console.proxy import Proxy
from interlock.agents.console.sessions import MAX_VISITS, Visits
from interlock.agents.console.settings import ProxySettings
from interlock.agents.errors import UserError
from interlock.agents.workspace.keys import write_private
from interlock.envelope.amounts import clock_ms, timestamp
from interlock.envelope.keys import SigningKey
from interlock.envelope.trust import sign_store
from interlock.envelope.trust_changes import good_keys
from tests.agents.conftest import InProcess, Keys
from tests.agents.console.conftest import ORIGIN, Browser, Counter, desk_for, field

pytestmark = pytest.mark.anyio
KEYS = Keys("w")
NOW = clock_ms()


def judged(challenges: Challenges, *, now_ms: int = NOW, key: SigningKey | None = None, **more: str) -> str:
    """The reason of the refusal, or whom it lets in."""
    said = {"workspace": "w", "origin": ORIGIN, "challenge": challenges.new(NOW), "agent": "human.ada"} | more
    text = sign_answer(key or KEYS.agents["human.ada"], **said)
    try:
        return check_answer(
            text, challenges=challenges, origins=[ORIGIN], workspace="w", trust=KEYS.trust, now_ms=now_ms
        ).agent
    except UserError as error:
        return error.reason


def test_an_answer_lets_its_human_in() -> None:
    assert judged(Challenges()) == "human.ada"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"workspace": "other"}, "login_refused"),
        ({"origin": "http://127.0.0.1:9999"}, "login_refused"),
        ({"challenge": Challenges().new(NOW)}, "login_expired"),
        ({"challenge": "AAAA"}, "login_expired"),
        ({"challenge": "no base64!"}, "login_expired"),
        ({"now_ms": NOW + GOOD_MS}, "login_expired"),
        ({"key": SigningKey.generate("U")}, "login_refused"),
        ({"key": KEYS.agents["human.bob"]}, "login_refused"),
        ({"agent": "human.nobody"}, "login_refused"),
        ({"agent": "human", "key": KEYS.agents["human.ada"]}, "login_refused"),
        ({"agent": "human.eve", "key": KEYS.agents["human"]}, "login_refused"),
        ({"agent": "executor", "key": KEYS.agents["executor"]}, "login_refused"),
    ],
    ids=range(12),
)
def test_whom_it_does_not_let_in(change: dict[str, Any], reason: str) -> None:
    assert judged(Challenges(), **change) == reason


def test_an_answer_is_good_once() -> None:
    challenges = Challenges()
    challenge = challenges.new(NOW)
    assert judged(challenges, challenge=challenge) == "human.ada"
    assert judged(challenges, challenge=challenge) == "login_expired"


@pytest.mark.parametrize("text", ["", "x", "!!!", "e30", "A" * 5_000, "eyJhIjoxfQ", "\x00", "ÿ"], ids=range(8))
def test_garbage_is_refused_in_words(text: str) -> None:
    with pytest.raises(UserError) as caught:
        check_answer(text, challenges=Challenges(), origins=[], workspace="w", trust=KEYS.trust, now_ms=NOW)
    assert caught.value.exit_code == 2


def test_a_changed_answer_is_refused() -> None:
    challenges = Challenges()
    text = sign_answer(
        KEYS.agents["human.ada"], workspace="w", origin=ORIGIN, challenge=challenges.new(NOW), agent="human.ada"
    )
    for at in range(0, len(text), 7):
        changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        with pytest.raises(UserError):
            check_answer(changed, challenges=challenges, origins=[ORIGIN], workspace="w", trust=KEYS.trust, now_ms=NOW)


def test_visits_end_by_age_and_by_idleness_and_are_bounded() -> None:
    visits = Visits(session_ms=1_000, idle_ms=300)
    visit = visits.enter("human", "K", 0)
    assert visits.find(visit.id, 299) is visit
    assert visits.find(visit.id, 598) is visit
    assert visits.find(visit.id, 600, used=False) is visit
    assert visits.find(visit.id, 898) is None, "idle, for a stream is no use"
    aged = visits.enter("human", "K", 0)
    for now_ms in range(0, 1_000, 250):
        assert visits.find(aged.id, now_ms) is aged
    assert visits.find(aged.id, 1_000) is None
    many = [visits.enter("human", "K", 5_000 + number // 100) for number in range(MAX_VISITS + 5)]
    assert sum(visits.find(one.id, 5_010) is not None for one in many) == MAX_VISITS
    assert visits.find(many[-1].id, 5_010) is not None


async def test_a_link_is_only_looked_at_until_its_button_is_pressed(quiet_counter: Counter) -> None:
    browser = Browser(quiet_counter.app)
    answer = quiet_counter.answer_of("human.ada")
    for _ in range(3):
        page = await browser.get(f"/login?answer={answer}")
        assert "Log in as human.ada" in page.text
        assert (await browser.get("/goals")).status == 303
    done = await browser.post("/login", {"token": field(page.text, "token"), "answer": field(page.text, "answer")})
    assert (done.status, done.header("location")) == (303, "/goals")
    assert "human.ada" in (await browser.get("/goals")).text
    again = await Browser(quiet_counter.app).get(f"/login?answer={answer}")
    assert again.status == 200
    other = Browser(quiet_counter.app)
    page = await other.get(f"/login?answer={answer}")
    assert (await other.post("/login", {"token": field(page.text, "token"), "answer": answer})).status == 403


async def test_an_id_chosen_before_the_login_is_nobodys_after_it(quiet_counter: Counter) -> None:
    """Session fixation: planted cookies neither become the session nor let their planter in."""
    browser = Browser(quiet_counter.app)
    name = "interlock_visit_8470"
    browser.cookies[name] = "planted"
    page = await browser.get("/login")
    token = field(page.text, "token")
    await browser.post("/login", {"token": token, "answer": quiet_counter.answer_of("human.ada")})
    assert browser.cookies[name] != "planted"
    planter = Browser(quiet_counter.app)
    planter.cookies[name] = "planted"
    assert (await planter.get("/goals")).status == 303
    first = browser.cookies[name]
    quiet_counter.desk.visits.leave(first)
    page = await browser.get("/login")
    await browser.post("/login", {"token": field(page.text, "token"), "answer": quiet_counter.answer_of("human.bob")})
    assert browser.cookies[name] != first


async def test_the_form_of_another_browser_logs_nobody_in(quiet_counter: Counter) -> None:
    """Login CSRF: an attacker's own answer in the victim's browser."""
    attacker, victim = Browser(quiet_counter.app), Browser(quiet_counter.app)
    token = field((await attacker.get("/login")).text, "token")
    await victim.get("/login")
    for sent in (token, "", "x"):
        done = await victim.post("/login", {"token": sent, "answer": quiet_counter.answer_of("human.eve")})
        assert done.status == 403
    assert (await victim.get("/goals")).status == 303


async def test_the_cookie_is_for_this_console_alone(quiet_counter: Counter) -> None:
    browser = Browser(quiet_counter.app)
    page = await browser.get("/login")
    done = await browser.post(
        "/login", {"token": field(page.text, "token"), "answer": quiet_counter.answer_of("human.ada")}
    )
    cookie = next(value for name, value in done.headers if name == "set-cookie" and "visit" in value)
    assert {"httponly", "samesite=strict", "path=/", "max-age=28800"} <= {
        part.strip().lower() for part in cookie.split(";")
    }
    assert "domain" not in cookie.lower()


async def test_logging_out_ends_it_everywhere(quiet_counter: Counter) -> None:
    browser = await quiet_counter.browser()
    twin = Browser(quiet_counter.app)
    twin.cookies = dict(browser.cookies)
    assert (await twin.get("/goals")).status == 200
    await browser.post("/logout", {"csrf": await quiet_counter.csrf(browser)})
    assert [(await one.get("/goals")).status for one in (browser, twin)] == [303, 303]


async def test_a_revoked_key_ends_its_visit_at_once(quiet_counter: Counter) -> None:
    house, desk = quiet_counter.house, quiet_counter.desk
    browser = await quiet_counter.browser()
    store = house.keys.trust.store
    now = timestamp(clock_ms())
    assert good_keys(store, "human.ada", clock_ms())
    for record in store.agents:
        if record.agent == "human.ada":
            record.keys[0] = type(record.keys[0])(
                **{name: getattr(record.keys[0], name) for name in record.keys[0].__struct_fields__}
                | {"revoked_at": now}
            )
    signed = sign_store(
        type(store)(
            **{name: getattr(store, name) for name in store.__struct_fields__} | {"version": store.version + 1}
        ),
        [house.keys.root],
    )
    write_private(desk.session.layout.trust, signed)
    assert (await browser.get("/goals")).status == 303
    assert (await browser.get("/events?topics=goals")).status == 401


async def test_whose_key_is_not_here_may_look_and_is_told_how_to_act(quiet_counter: Counter) -> None:
    """Eve logged in with a key of her own; the key file of `human` is here and does not sign for her."""
    browser = await quiet_counter.browser("human.eve")
    page = await quiet_counter.act(browser, "/halts", verb="halt", scope="workspace", why="x")
    assert "no_key_here" in page.text
    assert "--as human.eve" in page.text
    assert "Nothing is halted" in page.text


PROXY = ProxySettings(
    addresses=["10.0.0.9"], header="X-Forwarded-Email", users={"ada@example.org": "human.ada"}, secret_file="secret"
)
SECRET = "a secret of the proxy's own"


@pytest.mark.parametrize(
    ("address", "headers", "human"),
    [
        ("10.0.0.9", [("x-forwarded-email", "ada@example.org"), ("interlock-proxy-secret", SECRET)], "human.ada"),
        ("10.0.0.8", [("x-forwarded-email", "ada@example.org"), ("interlock-proxy-secret", SECRET)], ""),
        ("10.0.0.9", [("x-forwarded-email", "ada@example.org")], ""),
        ("10.0.0.9", [("x-forwarded-email", "ada@example.org"), ("interlock-proxy-secret", "guess")], ""),
        ("10.0.0.9", [("x-forwarded-email", "eve@example.org"), ("interlock-proxy-secret", SECRET)], ""),
        ("10.0.0.9", [("x-forwarded-email", "")] * 1 + [("interlock-proxy-secret", SECRET)], ""),
        ("10.0.0.9", [("x-forwarded-email", "ada@example.org")] * 2 + [("interlock-proxy-secret", SECRET)], ""),
        ("", [("x-forwarded-email", "ada@example.org"), ("interlock-proxy-secret", SECRET)], ""),
    ],
    ids=range(8),
)
def test_whom_a_proxy_may_name(tmp_path: Path, address: str, headers: list[tuple[str, str]], human: str) -> None:
    (tmp_path / "secret").write_text(SECRET + "\n")
    raw = [(name.encode(), value.encode()) for name, value in headers]
    assert Proxy(PROXY, tmp_path).user(address, raw)[1] == human


@pytest.mark.parametrize(
    ("secret", "users"), [("short", {"a": "human"}), (SECRET, {"a": "executor"}), (SECRET, {"a": "../x"})]
)
def test_a_proxy_that_cannot_be_meant(tmp_path: Path, secret: str, users: dict[str, str]) -> None:
    (tmp_path / "secret").write_text(secret)
    with pytest.raises(UserError):
        Proxy(ProxySettings(addresses=["10.0.0.9"], users=users, secret_file="secret"), tmp_path)


@pytest.mark.parametrize(("host", "secure"), [("console.example.org", True), ("127.0.0.1:8470", False)])
async def test_cookies_are_kept_from_plain_http_where_the_browser_came_by_tls(
    quiet_house: InProcess, tmp_path: Path, host: str, secure: bool
) -> None:
    desk = desk_for(quiet_house, tmp_path, origins=["https://console.example.org"])
    answer = await Browser(application(desk)).get("/login", [("host", host)])
    cookie = answer.header("set-cookie")
    assert answer.status == 200
    assert ("Secure" in cookie) == secure and "HttpOnly" in cookie and "SameSite=strict" in cookie


async def test_a_proxied_visit_lasts_as_long_as_the_proxy_vouches(quiet_house: InProcess, tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "secret").write_text(SECRET)
    desk = desk_for(quiet_house, tmp_path, proxy=PROXY)
    async with desk.feed.running():
        app = application(desk)
        vouched = [("x-forwarded-email", "ada@example.org"), ("interlock-proxy-secret", SECRET)]
        browser, stranger = Browser(app, "10.0.0.9"), Browser(app, "10.0.0.8")
        assert "Continue as" not in (await stranger.get("/login", vouched)).text
        page = await browser.get("/login", vouched)
        assert "Continue as human.ada" in page.text
        fields = {"token": field(page.text, "token"), "proxy": "1"}
        assert (await browser.post("/login", fields, [("x-forwarded-email", "ada@example.org")])).status == 403
        page = await browser.get("/login", vouched)
        fields["token"] = field(page.text, "token")
        assert (await browser.post("/login", fields, vouched)).status == 303
        assert (await browser.get("/goals", vouched)).status == 200
        assert (await browser.get("/goals")).status == 303, "without the proxy it is nobody's"
        assert (await browser.get("/goals", vouched)).status == 303, "and stays so"
