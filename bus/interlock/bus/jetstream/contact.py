"""Before and after a connection to a NATS server: whether its address is one, and whether it took what was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import nats.errors

from interlock.bus.errors import Refused, Unavailable

if TYPE_CHECKING:
    from nats.aio.client import Client


def check_url(url: str) -> None:
    """Raises Refused for what nats-py could not even try."""
    try:
        parts = urlsplit(url if "://" in url else f"nats://{url}")
        well_formed = parts.scheme in ("nats", "tls") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets, or a port beyond 65535
        well_formed = False
    if not well_formed or not url.isprintable() or " " in url:
        raise Refused(f"{url[:200]!r} is no NATS url", "It looks like nats://host:4222")


async def confirm(client: Client, subject: str) -> None:
    """Returns when the broker knows the subscription. nats-py writes a PING at once but hands a SUB to its flusher: the
    first PING may overtake the subscription, and only what the second one brings back proves it. Raises Unavailable.
    """
    try:
        await client.flush()
        await client.flush()
    except (nats.errors.Error, TimeoutError, OSError) as error:
        raise Unavailable(f"the broker does not confirm the subscription to {subject}") from error
