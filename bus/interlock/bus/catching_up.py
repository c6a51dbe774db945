"""Reads of a cluster are answered by whichever replica is nearest, and one that was stopped or cut off may be behind what
the stream has acknowledged. Whoever knows what must be there looks again until it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from interlock.bus.transport import Transport

T = TypeVar("T")
PAUSES_S = (0.02, 0.05, 0.1, 0.25)


async def caught_up(transport: Transport, look: Callable[[], Awaitable[T]], is_enough: Callable[[T], Any]) -> T:
    """What `look` gives once it is enough, or what it gave last when the transport's `lag_ms` is over: then it is not
    there. A single broker is asked once.
    """
    import anyio  # verifying a bundle needs no event loop, and comes by here

    deadline = anyio.current_time() + transport.lag_ms / 1000
    found, tries = await look(), 0
    while not is_enough(found) and anyio.current_time() < deadline:
        await anyio.sleep(PAUSES_S[min(tries, len(PAUSES_S) - 1)])
        found, tries = await look(), tries + 1
    return found
