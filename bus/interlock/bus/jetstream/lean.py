"""Loads nats-py without aiohttp. It takes that, where it is installed, for websockets, which no URL here has: a tenth of a
second of CPU in each of six processes that are to be up at once.
"""

from __future__ import annotations

import sys

if "nats" not in sys.modules and "aiohttp" not in sys.modules:
    sys.modules["aiohttp"] = None  # type: ignore[assignment]  # the import system's own way to say: not to be had
    try:
        import nats.aio.transport  # noqa: F401
    finally:
        del sys.modules["aiohttp"]
