"""The canonical form, RFC 8785 (JCS): msgspec's sorted encoder where it agrees with the RFC, else rfc8785."""

from __future__ import annotations

from typing import Any

import msgspec
import rfc8785

from interlock.envelope.amounts import MAX_INT

MAX_DEPTH = 32
_encoder = msgspec.json.Encoder(order="sorted")
# JCS sorts keys by UTF-16 units, msgspec by code points. They differ only where a character from U+E000 to U+FFFF (in
# UTF-8 it begins with 0xEE or 0xEF) meets one beyond the BMP (from 0xF0 on).
_BELOW = bytes(range(0xEE))
_ASTRAL = 0xF0


def canonical(value: Any) -> bytes:
    """The JCS bytes of a Struct or of plain JSON values without floats (confidenceScore is the one exception)."""
    wire = _encoder.encode(value)
    if wire.isascii():
        return wire
    high = wire.translate(None, delete=_BELOW)
    if not high or min(high) >= _ASTRAL or max(high) < _ASTRAL:
        return wire
    return rfc8785.dumps(msgspec.json.decode(wire))


def check_plain(value: Any, path: str = "$") -> None:
    """Raises ValueError, naming the JSON path, unless value is made of null, booleans, integers below 2^53 in size,
    well-formed strings, lists and string-keyed objects, at most MAX_DEPTH deep. Floats do not exist (envelope.md).
    """
    if type(value) is dict:
        for key, node in value.items():
            if type(node) is not str or type(key) is not str or not (node.isascii() and key.isascii()):
                break
        else:
            return  # empty, or a few plain texts, as most that a hop holds are
    if not _is_plain(value):
        _find_fault(value, path)


def _is_plain(value: Any) -> bool:
    """Whether there is no fault, and no text that must be looked at closer: without a path for each value, which only
    faults need. A level at a time.
    """
    level, depth = [value], 0
    while level:
        below: list[Any] = []
        for node in level:
            kind = type(node)
            if kind is str:
                if not node.isascii():
                    return False
            elif kind is int:
                if not -MAX_INT <= node <= MAX_INT:
                    return False
            elif kind is dict:
                for key in node:
                    if type(key) is not str or not key.isascii():
                        return False
                below += node.values()
            elif kind is list:
                below += node
            elif node is not None and kind is not bool:
                return False
        # Of a container at MAX_DEPTH not even what is in it is allowed; an empty one is left to the closer look.
        if depth >= MAX_DEPTH and any(type(node) is dict or type(node) is list for node in level):
            return False
        level, depth = below, depth + 1
    return True


def _find_fault(value: Any, path: str) -> None:
    stack: list[tuple[Any, str, int]] = [(value, path, 0)]
    while stack:
        node, where, depth = stack.pop()
        kind = type(node)
        if kind is str:
            if not node.isascii():
                _check_text(node, where)
        elif kind is int:
            if not -MAX_INT <= node <= MAX_INT:
                raise ValueError(f"{where}: an integer of 2^53 or more in size; write it as a string")
        elif kind is dict or kind is list:
            if depth >= MAX_DEPTH:
                raise ValueError(f"{where}: nested deeper than {MAX_DEPTH}")
            _push(stack, node, where, depth + 1)
        elif node is not None and kind is not bool:
            raise ValueError(f"{where}: {kind.__name__} is not allowed; write numbers with a point as strings")


def _push(stack: list[tuple[Any, str, int]], node: dict[Any, Any] | list[Any], where: str, depth: int) -> None:
    if isinstance(node, list):
        stack.extend((item, f"{where}[{index}]", depth) for index, item in enumerate(node))
        return
    for key, item in node.items():
        if type(key) is not str:
            raise ValueError(f"{where}: a key that is not a string")
        if not key.isascii():
            _check_text(key, where)
        stack.append((item, f"{where}.{key}", depth))


def _check_text(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{where}: text with a lone surrogate") from None
