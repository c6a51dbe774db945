"""Messages that nobody wrote to where they are: the broker's answers, aimed there by whoever asked for them.

A direct get answers with a stored message, which may be the asker's own bytes: with the headers it was stored with and the
broker's `Nats-Stream` beside them, or, asked so, with no headers at all. So a plain request that must not be made by
whoever may read carries a header of ours, and one of the broker's besides gives it away (docs/security.md).
"""

from __future__ import annotations

from collections.abc import Mapping

from interlock.bus.transport import Message

RELAYED = "Nats-Stream"
ASKED: Mapping[str, str] = {"Interlock-Kind": "request"}


def is_asked(message: Message) -> bool:
    """Whether its sender published it here, as one of ours does."""
    return "Interlock-Kind" in message.headers and RELAYED not in message.headers
