"""The wire form of Protocol Buffers (protobuf.dev/programming-guides/encoding), as far as OTLP's spans need it: fields in,
bytes out. A field that holds its default is left to the caller to leave out.
"""

from __future__ import annotations

import struct
from functools import lru_cache

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SMALL = tuple(bytes((number,)) for number in range(128))
_double = struct.Struct("<d").pack


def varint(number: int) -> bytes:
    """0 ≤ number < 2**64, seven bits a byte, the lowest first."""
    if number < 128:
        return _SMALL[number]
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


@lru_cache(maxsize=64)
def _tag(field: int, kind: int) -> bytes:
    return varint(field << 3 | kind)


def delimited(field: int, body: bytes) -> bytes:
    """A string, bytes or message."""
    return b"%b%b%b" % (_tag(field, _BYTES), varint(len(body)), body)


def integer(field: int, number: int) -> bytes:
    """int64, bool or enum: a negative number as its two's complement of 64 bits."""
    return _tag(field, _VARINT) + varint(number & 0xFFFF_FFFF_FFFF_FFFF)


def fixed32(field: int, number: int) -> bytes:
    return _tag(field, _FIXED32) + number.to_bytes(4, "little")


def double(field: int, number: float) -> bytes:
    return _tag(field, _FIXED64) + _double(number)
