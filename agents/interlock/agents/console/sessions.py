"""Who is logged in: random ids made at login and kept in memory, so that none can be chosen before or outlive the console."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from typing import Literal

MAX_VISITS = 256


@dataclass
class Visit:
    """One login. csrf: what its forms must carry; via: how its human was recognised, proxied: the name the proxy gave;
    notice: told on the next page, once.
    """

    id: str
    csrf: str
    agent: str
    key_id: str
    via: Literal["key", "proxy"]
    proxied: str
    since_ms: int
    seen_ms: int
    notice: tuple[str, str] | None = None

    def said(self, kind: Literal["done", "refused"], text: str) -> None:
        self.notice = (kind, text[:2_000])

    def told(self) -> tuple[str, str] | None:
        notice, self.notice = self.notice, None
        return notice


class Visits:
    """Bounded in number and time: session_ms from the login, idle_ms from the last request."""

    def __init__(self, session_ms: int, idle_ms: int) -> None:
        self._session_ms = session_ms
        self._idle_ms = idle_ms
        self._visits: dict[str, Visit] = {}

    def enter(
        self, agent: str, key_id: str, now_ms: int, *, via: Literal["key", "proxy"] = "key", proxied: str = ""
    ) -> Visit:
        """A new visit under an id that nobody knew before. The oldest makes room where there are too many."""
        self._visits = {name: visit for name, visit in self._visits.items() if self._is_good(visit, now_ms)}
        while len(self._visits) >= MAX_VISITS:
            del self._visits[min(self._visits.values(), key=lambda visit: visit.seen_ms).id]
        visit = Visit(secrets.token_urlsafe(32), secrets.token_urlsafe(32), agent, key_id, via, proxied, now_ms, now_ms)
        self._visits[visit.id] = visit
        return visit

    def find(self, name: str, now_ms: int, *, used: bool = True) -> Visit | None:
        """used: whether the visit counts as used by being asked for; a stream that stays open is no use."""
        visit = self._visits.get(name)
        if visit is None:
            return None
        if not self._is_good(visit, now_ms):
            del self._visits[name]
            return None
        if used:
            visit.seen_ms = now_ms
        return visit

    def leave(self, name: str) -> None:
        self._visits.pop(name, None)

    def _is_good(self, visit: Visit, now_ms: int) -> bool:
        return now_ms < visit.since_ms + self._session_ms and now_ms < visit.seen_ms + self._idle_ms


def same(one: str, other: str) -> bool:
    """In constant time; empty texts are nobody's."""
    return bool(one) and hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))
