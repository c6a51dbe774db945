"""What a workspace may set of its console (docs/settings.md)."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta, Struct, field

MIB = 1 << 20


class ProxySettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A proxy that has logged its users in by OpenID Connect. addresses: from where it connects; header: in which it names
    its user; users: who of them is which human here; secret_file: what it must send in `Interlock-Proxy-Secret`, for an
    address alone is anybody's on that machine.
    """

    addresses: Annotated[list[str], Meta(min_length=1, max_length=16)]
    header: Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}(?!\n)$")] = "X-Forwarded-Email"
    users: dict[str, str]
    secret_file: str


class ConsoleSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """origins: further ones by which browsers reach it, such as `https://console.example.org`; session_ms: how long a
    login is good, idle_ms: how long without a request; streams: live browsers at once; bundle_bytes: the largest bundle
    it takes to verify; decisions: where decision logs are, relative to interlock.yaml.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8470
    origins: list[str] = field(default_factory=list)
    session_ms: Annotated[int, Meta(ge=60_000, le=86_400_000)] = 28_800_000
    idle_ms: Annotated[int, Meta(ge=60_000, le=86_400_000)] = 3_600_000
    streams: Annotated[int, Meta(ge=1, le=4_096)] = 128
    bundle_bytes: Annotated[int, Meta(ge=1_024, le=256 * MIB)] = 32 * MIB
    decisions: Annotated[list[str], Meta(max_length=16)] = field(default_factory=lambda: ["logs/agent-decisions"])
    proxy: ProxySettings | None = None

    def __post_init__(self) -> None:
        for origin in self.origins:
            parts = urlsplit(origin)
            if (
                parts.scheme not in ("http", "https")
                or not parts.hostname
                or origin != f"{parts.scheme}://{parts.netloc}"
            ):
                raise ValueError(f"console.origins: {origin[:100]!r} is no origin such as https://console.example.org")
