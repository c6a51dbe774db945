"""What a stream answers to a publish."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from interlock.bus.errors import Refused
from interlock.bus.jetstream.broker_errors import ApiError, api_error
from interlock.bus.transport import PubAck


class _Ack(Struct):
    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: ApiError | None = None


_decoder = msgspec.json.Decoder(_Ack)


def pub_ack(data: bytes, subject: str) -> PubAck:
    """Raises what api_error gives, and Refused for an answer that is no stream's."""
    try:
        ack = _decoder.decode(data)
    except (msgspec.DecodeError, ValueError) as error:
        raise Refused(f"{subject} is answered by something that is no stream") from error
    if ack.error is not None:
        raise api_error(ack.error, f"publish to {subject}")
    return PubAck(ack.stream, ack.seq, ack.duplicate)
