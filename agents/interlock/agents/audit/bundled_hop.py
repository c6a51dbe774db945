"""A hop as a bundle holds it (docs/bundle-format.md), and the message that it was."""

from __future__ import annotations

import base64

from msgspec import Struct

from interlock.bus.redriving import REDRIVE
from interlock.bus.transport import MESSAGE_ID, Message


class BundledHop(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """encoding: `utf-8`, or `base64` where the bytes are no text. redrive: the order under which it was put back."""

    sequence: int
    subject: str
    stored_ms: int
    message_id: str
    encoding: str
    wire: str
    redrive: str = ""

    @property
    def message(self) -> Message:
        """Raises binascii.Error."""
        data = base64.b64decode(self.wire, validate=True) if self.encoding == "base64" else self.wire.encode()
        headers = {MESSAGE_ID: self.message_id} | ({REDRIVE: self.redrive} if self.redrive else {})
        return Message(self.subject, data, headers, self.sequence, self.stored_ms)
