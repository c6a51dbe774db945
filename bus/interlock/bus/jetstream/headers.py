"""Header blocks in the plain form: names and values of printable ASCII. Whatever else there may be is left to nats-py."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from interlock.bus.transport import EXPECTED_SEQUENCE, MESSAGE_ID

_HEAD = b"NATS/1.0\r\n"
_PLAIN_LINES = rb"(?:[!-9;-~]+: [!-~](?:[ -~]*[!-~])?\r\n)"
_PLAIN_LINE = re.compile(r"([^:]+): ([^\r]*)\r\n")
_PLAIN_BLOCK = re.compile(rb"NATS/1\.0\r\n%b+\r\n" % _PLAIN_LINES)
# What the broker says by itself: a number, some words, and perhaps headers of the plain form.
_STATUS_BLOCK = re.compile(rb"NATS/1\.0 (\d{3})(?: ([ -~]*))?\r\n(%b*)\r\n" % _PLAIN_LINES)
_SAFE_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# A value that nats-py would neither trim nor clean: everything else goes its way.
_SAFE_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")


def plain_headers(block: bytes) -> dict[str, str] | None:
    """The headers of a block in the plain form that header_block writes; None for any other, a status line included."""
    if _PLAIN_BLOCK.fullmatch(block) is None:
        return None
    return dict(_PLAIN_LINE.findall(block[len(_HEAD) : -2].decode()))


def status_headers(block: bytes) -> dict[str, str] | None:
    """As nats-py puts a status into headers; None for what is no status, or not in that form."""
    found = _STATUS_BLOCK.fullmatch(block)
    if found is None:
        return None
    number, words, rest = found.groups()
    headers = {"Status": number.decode()}
    if words:
        headers["Description"] = words.decode()
    return headers | dict(_PLAIN_LINE.findall(rest.decode()))


def header_block(headers: dict[str, Any]) -> bytes | None:
    """The block as nats-py would write it, or None where it would change or refuse something."""
    lines = [
        f"{name}: {value}\r\n"
        for name, value in headers.items()
        if _is_safe_name(name) and _SAFE_VALUE.fullmatch(value)
    ]
    return f"NATS/1.0\r\n{''.join(lines)}\r\n".encode() if len(lines) == len(headers) else None


def publish_headers(
    headers: Mapping[str, str], message_id: str, expected_sequence: int | None
) -> dict[str, str] | None:
    """What a publish carries besides its data: None where that is nothing."""
    if not headers and not message_id and expected_sequence is None:
        return None
    sent = dict(headers)
    if message_id:
        sent[MESSAGE_ID] = message_id
    if expected_sequence is not None:
        sent[EXPECTED_SEQUENCE] = str(expected_sequence)
    return sent


@lru_cache(maxsize=256)
def _is_safe_name(name: str) -> bool:
    return _SAFE_NAME.fullmatch(name) is not None
