"""Loads nats-py without what a role never uses of it: half of its weight, in each of seven processes that are to be up at once.

- aiohttp, which it takes, where it is installed, for websockets, which no URL here has;
- nats.js: streams and consumers are asked for here by the broker's own API. Who names it, as nats-py itself does for a word or two,
  has it loaded then;
- importlib.metadata, which it asks for its own version to tell the broker.

What this leans on inside nats-py is held by tests/bus/jetstream/test_lean.py.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

# The import system's own way to say: not to be had.
_ABSENT = ("aiohttp", "importlib.metadata")
_JS = "nats.js"


def _named_later(name: str) -> ModuleType:
    """What `nats` answers when it is asked for a name that it does not have (PEP 562)."""
    if name == "js":
        return import_module(_JS)
    raise AttributeError(f"module 'nats' has no attribute {name!r}")


if "nats" not in sys.modules:
    placed = [name for name in _ABSENT if name not in sys.modules]
    sys.modules |= dict.fromkeys(placed)  # type: ignore[arg-type]
    sys.modules[_JS] = ModuleType(_JS)
    try:
        import nats.aio.transport
    finally:
        for name in (*placed, _JS):
            del sys.modules[name]
    nats.__dict__["__getattr__"] = _named_later
