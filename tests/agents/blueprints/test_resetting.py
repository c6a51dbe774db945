"""Orders that close a breaker: whose, for what, how old."""

from __future__ import annotations

import json

import pytest

from interlock.agents.blueprints.resetting import MAX_AGE_MS, MAX_BYTES, SKEW_MS, Resets, sign_reset
from interlock.bus.clock import ManualClock, SystemClock
from tests.agents.conftest import Keys

KEYS = Keys("shop")
NOW_MS = SystemClock().now_ms()


def signed(by: str = "human", workspace: str = "shop", at_ms: int = NOW_MS, key: str = "") -> bytes:
    return sign_reset(KEYS.agents[key or by], workspace=workspace, service="web", why="", by=by, at_ms=at_ms)


def judged(data: bytes, service: str = "web", after_ms: int = 0, now_ms: int = NOW_MS) -> str:
    return Resets(lambda: KEYS.trust, ManualClock(now_ms)).judge(data, service, after_ms)[1].reason.value


def altered(data: bytes, **more: str) -> bytes:
    return json.dumps(json.loads(data) | more, sort_keys=True, separators=(",", ":")).encode()


ORDER = signed()


@pytest.mark.parametrize(
    ("reason", "got"),
    [
        ("ok", judged(ORDER)),
        ("ok", judged(ORDER, now_ms=NOW_MS + MAX_AGE_MS)),
        ("expired", judged(ORDER, now_ms=NOW_MS + MAX_AGE_MS + 1)),
        ("from_future", judged(signed(at_ms=NOW_MS + SKEW_MS + 1))),
        ("replayed", judged(ORDER, after_ms=NOW_MS)),
        ("ok", judged(ORDER, after_ms=NOW_MS - 1)),
        ("policy_denied", judged(ORDER, service="api")),
        ("policy_denied", judged(signed(by="orchestrator"))),
        ("key_not_for_agent", judged(signed(key="orchestrator"))),
        ("wrong_workspace", judged(signed(workspace="other"))),
        ("bad_signature", judged(altered(ORDER, why="another"))),
        ("bad_signature", judged(altered(ORDER, service="api"), service="api")),
        ("malformed", judged(b"")),
        ("malformed", judged(b"ada")),
        ("malformed", judged(ORDER + b" ")),
        ("malformed", judged(altered(ORDER, more="x"))),
        ("malformed", judged(b"[" * 4_000)),
        ("malformed", judged(b"{" + b" " * MAX_BYTES + b"}")),
        ("malformed", judged(b"\xff\xfe")),
    ],
)
def test_an_order_counts_or_says_why_not(reason: str, got: str) -> None:
    assert got == reason


def test_a_stranger_closes_nothing() -> None:
    stranger = Keys("shop")
    data = sign_reset(stranger.agents["human"], workspace="shop", service="web", why="", by="human", at_ms=NOW_MS)
    assert judged(data) == "unknown_key"
