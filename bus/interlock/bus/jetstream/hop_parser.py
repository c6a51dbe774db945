"""nats-py's parser with a short way for messages that are there whole and can be handed over at once: one match, and no
copy but that of the payload. Everything else (protocol lines, parts of messages, large ones, callbacks that wait) is its own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

if TYPE_CHECKING:
    from interlock.bus.jetstream.hop_client import HopClient

_MESSAGE = re.compile(rb"(?:(H)MSG|MSG) ([!-~]+) (\d+) (?:([!-~]+) )??(?(1)(\d+) )(\d+)\r\n")
# Of what is longer the parts are better gathered by nats-py, which does not look at them again with each that comes.
_MAX_GATHERED = 1 << 16


class HopParser(Parser):
    def __init__(self, client: HopClient) -> None:
        super().__init__(client)
        self._client = client

    async def parse(self, data: bytes = b"") -> None:
        if self.state == AWAITING_CONTROL_LINE:
            if self.buf:
                data = bytes(self.buf) + data
            at, is_begun = self._take_whole(data)
            self.buf, data = bytearray(data[at:]), b""
            if is_begun or not self.buf:
                return
        await super().parse(data)

    def _take_whole(self, data: bytes) -> tuple[int, bool]:
        """Hands over from the front; how far it came, and whether it goes on with a message that is not there whole."""
        at = 0
        while (found := _MESSAGE.match(data, at)) is not None:
            _, subject, sid, reply, header_size, size = found.groups()
            begin = found.end()
            end = begin + int(size)
            if len(data) < end + 2:
                return at, int(size) <= _MAX_GATHERED
            middle = begin + int(header_size or 0)
            if not self._client._take(int(sid), subject, reply or b"", data[middle:end], data[begin:middle]):
                break
            at = end + 2
        return at, False
