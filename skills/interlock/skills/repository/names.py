"""File names and foreign text as printable UTF-8: what is shown never carries control characters or broken bytes."""

from __future__ import annotations

import unicodedata


def printable_name(raw: bytes) -> str:
    """A file name of any bytes as printable text, one-to-one: what cannot be shown is escaped as `\\xNN` or `\\uNNNN`,
    and a backslash is doubled.
    """
    text = raw.decode("utf-8", "surrogateescape")
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return "".join(_shown(char) for char in text)


def _shown(char: str) -> str:
    code = ord(char)
    if char == "\\":
        return "\\\\"
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if char.isprintable():
        return char
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def one_line(text: object, limit: int = 240) -> str:
    """Foreign text as one printable line of at most `limit` characters."""
    whole = str(text)[: limit * 4].encode("utf-8", "replace").decode()
    normal = unicodedata.normalize("NFC", whole)
    line = " ".join("".join(char if char.isprintable() else " " for char in normal).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def is_web_address(text: str) -> bool:
    """Whether text is a plain http(s) address of printable ASCII without credentials."""
    from urllib.parse import urlsplit

    if not text.isascii() or not text.isprintable() or len(text) > 1000 or set(text) & set(' <>"{}|\\^`'):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        return False
