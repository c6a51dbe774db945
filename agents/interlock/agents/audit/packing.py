"""The outer layer of a bundle: gzip (RFC 1952) in which no bit is free, and no bomb is unpacked.

Deflate leaves bits that change nothing when they change (the padding behind the last block, other codes for the same
text). The header's extra field (RFC 1952, 2.3.1.1) therefore carries the SHA-256 of all bytes behind it.
"""

from __future__ import annotations

import hashlib
import struct
import zlib

MAX_BYTES = 256 << 20
# Deflate, extra field, no time, no name, best compression, unknown system; then the field's length, `IL`, its size.
HEADER = b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x02\xff" + struct.pack("<H2sH", 36, b"IL", 32)
_BODY = len(HEADER) + 32
_TRAILER = 8


class PackingError(ValueError):
    """The bytes are not a packed text."""


def packed(text: bytes) -> bytes:
    """text: at most MAX_BYTES, else PackingError. The same text gives the same bytes under the same zlib."""
    if len(text) > MAX_BYTES:
        raise PackingError(f"{len(text)} bytes unpacked; at most {MAX_BYTES}")
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    behind = deflate.compress(text) + deflate.flush() + struct.pack("<II", zlib.crc32(text), len(text))
    return HEADER + hashlib.sha256(behind).digest() + behind


def unpacked(data: bytes) -> bytes:
    """The inverse. Raises PackingError for anything that `packed` cannot have made, before more than MAX_BYTES are
    unpacked.
    """
    if not data.startswith(HEADER) or len(data) < _BODY + _TRAILER:
        raise PackingError("not gzip with the header that bundles have")
    if hashlib.sha256(data[_BODY:]).digest() != data[len(HEADER) : _BODY]:
        raise PackingError("changed or cut: the digest in the gzip header is that of other bytes")
    unpacker = zlib.decompressobj(wbits=31)
    try:
        text = unpacker.decompress(data, MAX_BYTES)
    except zlib.error as error:
        raise PackingError(f"no gzip: {error}") from error
    if not unpacker.eof or unpacker.unused_data:
        raise PackingError(f"truncated, followed by something, or more than {MAX_BYTES} bytes unpacked")
    return text
